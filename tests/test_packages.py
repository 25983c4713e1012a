"""The packages are this checkout's, and light to import."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", ["orchestrator", "workers", "surrogates", "cluster"])
def test_package_is_imported_from_this_checkout(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == CHECKOUT / package


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("orchestrator.contracts", ["ray", "torch", "numpy", "pandas", "pyarrow", "pydantic"]),
        ("orchestrator.cli.main", ["ray", "torch", "transformers", "pandas", "lightgbm"]),
        ("orchestrator.scheduling", ["ray", "torch", "pandas"]),
        ("orchestrator.metadataset.ledger", ["ray", "torch"]),
        ("orchestrator.app.sweep", ["torch", "transformers", "peft", "lightgbm"]),
        ("workers.session", ["ray"]),
        ("workers.space", ["torch", "ray"]),
        ("workers.tasks.loading", ["torch", "ray", "datasets"]),
        ("workers.worlds", ["torch", "ray", "numpy"]),
        ("workers.judge", ["torch", "ray", "transformers"]),
        ("workers.documents.recipe", ["torch", "ray", "pypdf"]),
        ("surrogates.recommender", ["ray", "torch"]),
        ("cluster.doctor.ports", ["ray"]),
        ("orchestrator.app.doctor", ["ray", "torch"]),
    ],
)
def test_importing_a_module_does_not_load(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
