"""Tuning folders whose plan was made by hand, of trials that train nothing."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.app.spec import SweepSpec
from orchestrator.app.tuning_plan import StoredPlan, TuningLayout
from orchestrator.contracts import Config
from surrogates.plan import Choice, LearnedFrom, Plan, Prediction
from workers.space import SearchSpace
from workers.tasks.loading import load_task

TASK = "worlds:machines"
CONFIGS: tuple[Config, ...] = tuple(SearchSpace.from_spec("tiny", {}).sample(6, seed=0))
HORIZON = 6


def make_plan(
    steps: Sequence[tuple[int, int]], *, configs: Sequence[Config] = CONFIGS, budget_s: float = 1e6
) -> Plan:
    """A plan that trains the config of a number to an epoch, step by step."""
    return Plan(
        budget_s=budget_s,
        choices=tuple(
            Choice(
                rank=rank,
                config=configs[number],
                epochs=epochs,
                is_fresh=False,
                score=Prediction(metric="eval_loss", value=1.0, low=0.0, high=1e6),
                reports=(),
                cost_s=1.0,
                is_reserve=False,
                failure_probability=0.0,
                expected_regret=0.0,
                evidence=(),
            )
            for rank, (number, epochs) in enumerate(steps, start=1)
        ),
        nearest_tasks=(),
        strangeness=None,
        notes=(),
        learned_from=LearnedFrom(
            tasks=1, trials=1, points=1, base_fingerprints=(), metric="eval_loss", direction="minimise"
        ),
    )


def write_plan(
    out: Path, steps: Sequence[tuple[int, int]], *, budget_s: float = 1e6, epoch_s: float = 0.0
) -> StoredPlan:
    """Write a folder that holds such a plan, of epochs that take so long."""
    stored = StoredPlan(
        task_source=TASK,
        task_id=load_task(TASK).task_id,
        task_name="machines",
        budget_s=budget_s,
        root=out / "learned-from",
        like=SweepSpec(
            name="past",
            base_model=f"rehearsal:{epoch_s}",
            tasks=({"source": "worlds:towns"},),  # type: ignore[arg-type]
            configs={"count": 1},  # type: ignore[arg-type]
            epochs=HORIZON,
        ),
        default_config=SearchSpace.from_spec("tiny", {}).default(),
        plan=make_plan(steps, budget_s=budget_s),
    )
    stored.write(TuningLayout(out))
    return stored
