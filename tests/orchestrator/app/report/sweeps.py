"""Sweeps' roots as a driver leaves them, also half-way, without training anything; and hostile names."""

import json
from pathlib import Path

from orchestrator.app.spec import parse_spec
from orchestrator.contracts import Config, Outcome, Trial, WorkerId
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.ledger import Ledger
from orchestrator.metadataset.reader import MetaDatasetReader
from surrogates.metadataset import MetaDataset
from tests.surrogates.roots import EPOCHS, SPACE_JSON, a_point, a_result, a_task, a_trial, write_root
from tests.surrogates.synthetic import SPACE, World, frames

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"
CONFIG: Config = {"learning_rate": 2e-3, "optim": "adamw"}


def adopt(root: Path, *, more: int = 0) -> None:
    """Make a root of the ledger a sweep's, whose plan has so many trials more than have ended."""
    spec = parse_spec(
        {
            "name": "one",
            "base_model": "tiny-phi3",
            "tasks": ["worlds:towns"],
            "configs": 1,
            "epochs": EPOCHS,
        },
        where="s.yaml",
        folder=root,
    )
    layout, text = RootLayout(root), spec.to_yaml()
    layout.space_json.write_text(SPACE_JSON)
    planned = {trial_id: EPOCHS for trial_id in MetaDatasetReader(root).trials()["trial_id"]}
    planned |= {f"planned-{number}": EPOCHS for number in range(more)}
    layout.revisions_dir.mkdir(parents=True)
    layout.revision(0).write_text(json.dumps({"spec": text, "trials": planned}))
    layout.sweep_yaml.write_text(text)


def write_sweep(root: Path, *, tasks: int = 3, configs: int = 8) -> None:
    """Write a sweep that has ended: on every task one config diverged and one failed."""
    root.mkdir()
    write_root(root, tasks=tasks, configs=configs)
    adopt(root)


def write_trial(root: Path, trial: Trial, *, points: int, outcome: Outcome | None) -> None:
    """Add a trial that has so many points, and an outcome or is under way."""
    with Ledger.open(root) as ledger:
        ledger.record_task(a_task(int(trial.task_id.rpartition("-")[2])))
        attempt = ledger.grant(trial.trial_id, WorkerId("w"))
        ledger.record_started(trial.trial_id, attempt)
        for epoch in range(1, points + 1):
            ledger.record_point(a_point(trial, attempt, epoch, 3.0 / epoch))
        if outcome is not None:
            ledger.record_result(a_result(trial, attempt, outcome, points))
        ledger.commit()


def write_beginning(root: Path, *, points: int) -> None:
    """Write a sweep of which one trial is under way and nothing has ended."""
    root.mkdir()
    write_trial(root, a_trial(0, CONFIG), points=points, outcome=None)
    adopt(root, more=4)


def hostile_meta(world: World) -> MetaDataset:
    """Curves of tasks whose names are markup."""
    curves, configs, tasks = frames(world)
    names = [HOSTILE, "a & b", '"quoted" $x^2$']
    return MetaDataset.from_frames(
        curves,
        configs,
        tasks.assign(name=names[: world.tasks]),
        space=SPACE,
        metric="loss",
        direction="minimise",
        cost="seconds",
        reports=("accuracy",),
    )
