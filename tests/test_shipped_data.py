"""What ships is whole, small, described column by column, and loads as its card says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.app.roots import existing_spec, planned_trials
from orchestrator.app.shipped import NAME, SHIPPED
from orchestrator.app.spec import load_spec
from orchestrator.metadataset.reader import MetaDatasetReader
from orchestrator.metadataset.schema import Table
from orchestrator.metadataset.verify import verify
from surrogates.metadataset import MetaDataset
from workers.models.location import base_fingerprint

CHECKOUT = Path(__file__).resolve().parents[1]
CARD = (SHIPPED / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", CARD, flags=re.DOTALL)
ROOTS = sorted(path.parent for path in SHIPPED.glob("*/sweep.yaml"))
MOST_BYTES = 25e6


def test_the_root_that_is_asked_ships() -> None:
    assert NAME in [root.name for root in ROOTS]


def test_all_of_it_is_at_most_25_megabytes() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= MOST_BYTES


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_a_shipped_root_is_certified_with_1800_trials_planned_and_ended(root: Path) -> None:
    planned = planned_trials(root)
    assert len(planned) == 1800
    certificate = verify(root, planned)
    assert certificate.ok, certificate.render()
    trials = MetaDatasetReader(root).trials()
    assert len(trials) == 1800
    assert set(trials["outcome"]) <= {"completed", "diverged"}


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_a_shipped_root_is_the_sweep_that_the_example_plans(root: Path) -> None:
    assert existing_spec(root).identity() == load_spec(CHECKOUT / "examples" / f"{root.name}.yaml").identity()


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_a_shipped_root_was_measured_on_the_base_model_that_ships(root: Path) -> None:
    assert MetaDataset.from_root(root).base_fingerprints == (base_fingerprint("tiny-phi3"),)


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_a_shipped_root_tells_of_no_machine_but_what_kind_it_was(root: Path) -> None:
    for text in MetaDatasetReader(root).trials()["provenance"].unique():
        assert not re.search(r"/(home|root|work|tmp|Users)/", text), text
        assert json.loads(text)["commit"]
    assert not re.search(r"/(home|root|work|tmp|Users)/", (root / "sweep.yaml").read_text())


@pytest.mark.parametrize("table", [Table.CURVES, Table.TRIALS, Table.TASKS])
def test_the_card_names_every_column_with_its_type_and_unit(table: Table) -> None:
    for field in table.schema:
        assert f"| `{field.name}` | {field.type} | {field.metadata[b'doc'].decode()} |" in CARD


@pytest.mark.timeout(300)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split()[1])
def test_every_block_of_the_card_runs_without_a_network(block: str, tmp_path: Path) -> None:
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=SHIPPED,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
