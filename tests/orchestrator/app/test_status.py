"""What a root's status says, beside what sweeps on a real Ray show of it."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from orchestrator.app.plan import plan_sweep
from orchestrator.app.roots import claim
from orchestrator.app.spec import parse_spec
from orchestrator.app.status import status_of
from orchestrator.metadataset.ledger import Ledger
from tests.orchestrator.metadataset.records import a_task

SPEC = parse_spec(
    {"name": "s", "base_model": "rehearsal", "tasks": ["worlds:towns"], "configs": 1, "epochs": 1},
    where="s.yaml",
    folder=Path(),
)


def test_cut_examples_are_reported_for_each_task_that_has_some(tmp_path: Path) -> None:
    plan = plan_sweep(SPEC)
    claim(tmp_path, SPEC, plan.trials, plan.space.to_json())
    with Ledger.open(tmp_path) as ledger:
        ledger.record_task(replace(a_task(1), truncated_prompts=8, truncated_answers=0))
        ledger.record_task(replace(a_task(2), truncated_prompts=0, truncated_answers=3))
        ledger.record_task(replace(a_task(3), truncated_prompts=0, truncated_answers=0))
        ledger.record_task(a_task(4))  # of an older release, which did not count
    status = status_of(tmp_path)
    told = [(cut.task, cut.prompts, cut.answers) for cut in status.truncated]
    assert told == [(a_task(1).name, 8, 0), (a_task(2).name, 0, 3)]
    assert status.as_dict()["truncated"][0] == {"task": a_task(1).name, "prompts": 8, "answers": 0}
    shown = StringIO()
    Console(file=shown, width=200).print(status.render())
    assert f"{a_task(2).name}: 0 prompts at their beginning, 3 answers at their end" in shown.getvalue()
