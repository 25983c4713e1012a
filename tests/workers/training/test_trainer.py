"""Trials: what they measure does not depend on where, when or how often they run; what happens is told."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from orchestrator.contracts import (
    METRIC_COLUMNS,
    CurvePoint,
    Lease,
    Outcome,
    PointMeasured,
    Scalar,
    Trial,
    TrialStarted,
)
from tests.support.control import RecordingControl
from tests.support.tiny import make_lease, make_task, make_trial
from workers.models.base import BaseModel, load_base
from workers.spaces.names import NAMES
from workers.tasks.records import Task
from workers.training.encoding import encode_task
from workers.training.evaluation import evaluate_split
from workers.training.hyperparameters import Hyperparameters
from workers.training.keys import keyed_seed
from workers.training.run import TrialRun
from workers.training.schedules import learning_rate_factor, warmup_length
from workers.training.stream import ExampleStream
from workers.training.trainer import Trainer

TASK = make_task()

Metrics = list[tuple[float, ...]]


class Crash(BaseException):
    """The process dies here."""


def load(_source: str) -> Task:
    return TASK


def metrics(points: list[CurvePoint]) -> Metrics:
    return [tuple(asdict(point)[name] for name in METRIC_COLUMNS) for point in points]


def train(root: Path, *leases: Lease, control: RecordingControl | None = None) -> RecordingControl:
    control = control or RecordingControl()
    Trainer(root, load_task=load).train(leases, control)
    return control


def curve(root: Path, trial: Trial) -> Metrics:
    control = train(root, make_lease(trial))
    assert control.ended.error is None
    return metrics(control.points)


def crash_at(point: str, *, visit: int) -> Callable[[str], None]:
    """Die when the point is passed for the ``visit``-th time."""
    visits = 0

    def fault(name: str) -> None:
        nonlocal visits
        visits += name == point
        if name == point and visits == visit:
            raise Crash

    return fault


def wavering_trial(base: Path, root: Path, quant: str = "none") -> tuple[Trial, int]:
    """A trial of 4 epochs whose rate is so high that its loss wavers, and its best epoch, the 1st or 2nd."""
    config: dict[str, Scalar] = {
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant_with_warmup",
        "quant": quant,
    }
    for seed in range(40):
        trial = make_trial(base, TASK, config=config, seed=seed, max_epochs=4)
        points = train(root / f"seed-{seed}", make_lease(trial)).points
        best = min(points, key=lambda point: point.eval_loss).epoch
        if best <= 2:
            return trial, best
    raise AssertionError("no seed was best early")


# Determinism


def test_a_fresh_process_and_a_warm_worker_measure_the_same(random_base: Path, tmp_path: Path) -> None:
    trial = make_trial(random_base, TASK)
    others = [
        make_trial(random_base, TASK, config={"lora_r": 8, "target_modules": "qv", "learning_rate": 0.05}),
        make_trial(random_base, TASK, config={"quant": "nf4"}),
        make_trial(random_base, TASK, config={"optim": "adamw_8bit"}, max_epochs=1),
    ]
    control = RecordingControl()
    torch.manual_seed(99)
    Trainer(tmp_path / "warm", load_task=load).train([make_lease(t) for t in (*others, trial)], control)
    warm = metrics([point for point in control.points if point.trial_id == trial.trial_id])
    script = (
        "import json, sys, torch; torch.set_num_threads(1); from pathlib import Path\n"
        "from tests.workers.training.test_trainer import TASK, curve\n"
        "from tests.support.tiny import make_trial\n"
        "print('CURVE' + json.dumps(curve(Path(sys.argv[2]), make_trial(Path(sys.argv[1]), TASK))))\n"
    )
    arguments = [sys.executable, "-c", script, str(random_base), str(tmp_path / "fresh")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    checkout = Path(__file__).parents[3]
    done = subprocess.run(
        arguments, env=environment, cwd=checkout, capture_output=True, text=True, check=True
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("CURVE")]
    assert [tuple(row) for row in json.loads(line.removeprefix("CURVE"))] == warm


@pytest.mark.parametrize(
    ("optim", "point"),
    [
        *((optim, "checkpoint_after_publish") for optim in NAMES["optim"].words),
        ("adamw_torch_fused", "epoch_trained"),
        ("adamw_torch_fused", "checkpoint_before_publish"),
    ],
)
def test_interrupted_at_every_epoch_equals_uninterrupted(
    random_base: Path, tmp_path: Path, optim: str, point: str
) -> None:
    trial = make_trial(random_base, TASK, config={"optim": optim, "weight_decay": 0.01})
    rows: dict[int, CurvePoint] = {}
    for attempt in range(10):
        control = RecordingControl()
        fault = crash_at(point, visit=1 if point == "checkpoint_after_publish" else 2)
        lease = make_lease(trial, attempt=attempt, committed_epochs=len(rows))
        with contextlib.suppress(Crash):
            Trainer(tmp_path / "cut", load_task=load, fault=fault).train([lease], control)
        for measured in control.points:
            assert measured.epoch not in rows
            assert measured.attempt == attempt
            rows[measured.epoch] = measured
        if len(rows) == trial.max_epochs:
            break
    assert attempt > 0
    assert metrics([rows[epoch] for epoch in sorted(rows)]) == curve(tmp_path / "whole", trial)


def test_a_resumed_attempt_says_where_it_starts_and_repeats_what_is_not_on_record(
    random_base: Path, tmp_path: Path
) -> None:
    trial = make_trial(random_base, TASK)
    first = RecordingControl(stop_at=2)
    train(tmp_path, make_lease(trial), control=first)
    assert first.ended.outcome is Outcome.STOPPED
    again = train(tmp_path, make_lease(trial, attempt=3, committed_epochs=1))
    started = again.reports[0]
    assert isinstance(started, TrialStarted)
    assert (started.from_epoch, started.attempt) == (2, 3)
    assert [(point.epoch, point.attempt) for point in again.points] == [(2, 3), (3, 3)]
    assert again.ended.outcome is Outcome.COMPLETED
    assert again.ended.epochs == 3


def test_a_damaged_checkpoint_costs_time_and_changes_no_number(random_base: Path, tmp_path: Path) -> None:
    trial = make_trial(random_base, TASK)
    train(tmp_path / "cut", make_lease(trial), control=RecordingControl(stop_at=2))
    for path in (tmp_path / "cut").glob("checkpoints/*/*/epoch-0002/tensors.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])
    again = train(tmp_path / "cut", make_lease(trial, attempt=1, committed_epochs=0))
    assert metrics(again.points) == curve(tmp_path / "whole", trial)


@pytest.mark.parametrize("schedule", NAMES["lr_scheduler_type"].words)
def test_a_shorter_plan_is_a_prefix_of_a_longer_one(random_base: Path, tmp_path: Path, schedule: str) -> None:
    config: dict[str, Scalar] = {"lr_scheduler_type": schedule, "warmup_steps": 0.1}
    short = make_trial(random_base, TASK, config=config, max_epochs=2)
    long = make_trial(random_base, TASK, config=config, max_epochs=4)
    assert short.trial_id == long.trial_id
    assert curve(tmp_path / "short", short) == curve(tmp_path / "long", long)[:2]


def test_seeds_change_the_numbers(random_base: Path, tmp_path: Path) -> None:
    trials = [make_trial(random_base, TASK, seed=seed, max_epochs=1) for seed in (0, 1)]
    assert curve(tmp_path / "0", trials[0]) != curve(tmp_path / "1", trials[1])


# The numbers themselves


@pytest.mark.parametrize("prompt_weight", [0.0, 0.3])
def test_a_trial_equals_a_plain_peft_and_torch_loop(
    random_base: Path, tmp_path: Path, prompt_weight: float
) -> None:
    """An independent loop: HF's own forward, one example at a time, torch's AdamW, PEFT's own modules."""
    config: dict[str, Scalar] = {"lora_dropout": 0.0, "weight_decay": 0.05, "loraplus_lr_ratio": 2.0}
    config |= {"prompt_loss_weight": prompt_weight, "use_rslora": True, "target_modules": "attn"}
    trial = make_trial(random_base, TASK, config=config, settings={"max_grad_norm": 0.5})
    hyper = Hyperparameters.from_config(trial.config)
    base = load_base(str(random_base))
    encoded = encode_task(base.tokenizer, TASK, max_length_tokens=64)
    torch.manual_seed(keyed_seed(trial.trial_id, "adapter"))
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(random_base),
        LoraConfig(
            r=4, lora_alpha=8, use_rslora=True, target_modules=["qkv_proj", "o_proj"], task_type="CAUSAL_LM"
        ),
    )
    a_weights = [w for name, w in model.named_parameters() if "lora_A" in name]
    b_weights = [w for name, w in model.named_parameters() if "lora_B" in name]
    optimizer = torch.optim.AdamW([{"params": a_weights}, {"params": b_weights}], weight_decay=0.05)
    stream = ExampleStream(encoded.facts, trial.trial_id, 10)
    total = 4 * 3
    lengths = [len(example.tokens) for example in encoded.train]
    step, expected = 0, []
    for epoch in (1, 2, 3):
        for batch in stream.batches(epoch, 4, lengths):
            nats = weights = torch.zeros(())
            for example in (encoded.train[index] for index in batch):
                scores = model(torch.tensor([example.tokens])).logits[0].log_softmax(-1)
                for place in range(1, len(example.tokens)):
                    weight = 1.0 if place >= example.prompt_tokens else prompt_weight
                    nats = nats - weight * scores[place - 1, example.tokens[place]]
                    weights = weights + weight
            torch.autograd.backward(nats / weights)
            torch.nn.utils.clip_grad_norm_([*a_weights, *b_weights], 0.5)
            rate = 5e-3 * learning_rate_factor(
                "cosine", step, total=total, warmup=warmup_length(hyper.warmup_steps, total)
            )
            optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = rate, 2 * rate
            optimizer.step()
            optimizer.zero_grad()
            step += 1
        model.eval()
        losses = [
            -model(torch.tensor([e.tokens])).logits[0].log_softmax(-1)[place - 1, e.tokens[place]].item()
            for e in encoded.validation[:4]
            for place in range(e.prompt_tokens, len(e.tokens))
        ]
        model.train()
        expected.append(sum(losses) / len(losses))
    points = train(tmp_path, make_lease(trial)).points
    assert [point.eval_loss for point in points] == pytest.approx(expected, abs=2e-4)
    assert points[-1].step == step


@pytest.mark.parametrize(
    ("optim", "quant"),
    [
        *((optim, "none") for optim in NAMES["optim"].words),
        *(("adamw_8bit", quant) for quant in NAMES["quant"].words if quant != "none"),
    ],
)
def test_every_optimizer_trains(random_base: Path, tmp_path: Path, optim: str, quant: str) -> None:
    rate = {"sgd": 0.3, "lion": 3e-3}.get(optim, 1e-2)
    config: dict[str, Scalar] = {"optim": optim, "learning_rate": rate, "quant": quant}
    trial = make_trial(random_base, TASK, config=config, max_epochs=4, settings={"examples_per_epoch": 24})
    first, *_, last = train(tmp_path, make_lease(trial)).points
    assert last.train_loss < first.train_loss - 1.0


def test_dropout_is_on_in_training_and_keyed(random_base: Path, loaded_base: BaseModel) -> None:
    trial = make_trial(random_base, TASK, config={"lora_dropout": 0.5})
    encoded = encode_task(loaded_base.tokenizer, TASK, max_length_tokens=64)

    def weights(dropout: float, global_seed: int) -> list[torch.Tensor]:
        hyper = Hyperparameters.from_config(dict(trial.config) | {"lora_dropout": dropout})
        torch.manual_seed(global_seed)
        run = TrialRun(trial, hyper, loaded_base, encoded)
        run.train_epoch()
        return [weight.detach() for weight in run.adapted.parameters.values()]

    for one, other in zip(weights(0.5, 1), weights(0.5, 2), strict=True):
        assert torch.equal(one, other)
    assert not all(torch.equal(*pair) for pair in zip(weights(0.5, 1), weights(0.0, 1), strict=True))


# Outcomes


def test_a_config_that_is_no_config_is_invalid_and_loads_nothing(random_base: Path, tmp_path: Path) -> None:
    trial = make_trial(random_base, TASK, config={"learning_rat": 1.0}, base_model="x", base_fingerprint="y")
    ended = train(tmp_path, make_lease(trial)).ended
    assert ended.outcome is Outcome.INVALID
    assert ended.error is not None
    assert "learning_rat" in ended.error
    assert ended.unreported_train_s == 0.0


def test_a_gradient_that_is_not_finite_diverges_without_a_row(random_base: Path, tmp_path: Path) -> None:
    # Each step multiplies the weights by 1 - rate x decay, about -9, until they overflow.
    config: dict[str, Scalar] = {
        "learning_rate": 1.0,
        "weight_decay": 10.0,
        "warmup_steps": 0,
        "lr_scheduler_type": "constant_with_warmup",
        "batch_size": 1,
    }
    trial = make_trial(random_base, TASK, config=config, settings={"examples_per_epoch": 40})
    control = train(tmp_path, make_lease(trial))
    assert control.ended.outcome is Outcome.DIVERGED
    assert "not finite" in (control.ended.error or "")
    assert control.points == []
    assert control.ended.unreported_train_s > 0


def test_a_loss_beyond_the_bound_diverges(random_base: Path, tmp_path: Path) -> None:
    trial = make_trial(random_base, TASK, settings={"diverged_loss": 0.5})
    ended = train(tmp_path, make_lease(trial)).ended
    assert ended.outcome is Outcome.DIVERGED
    assert ended.error is not None
    assert "diverged_loss = 0.5" in ended.error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (torch.OutOfMemoryError("tried to allocate 80 GiB"), Outcome.OUT_OF_MEMORY),
        (MemoryError("no room"), Outcome.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), Outcome.OUT_OF_MEMORY),
        (RuntimeError("a defect"), Outcome.FAILED),
        (OSError(errno.ENOSPC, "No space left on device"), Outcome.LOST),
        (FileNotFoundError(errno.ENOENT, "a file of the user's"), Outcome.FAILED),
    ],
)
def test_an_error_in_training_becomes_an_outcome_and_the_next_trial_runs(
    random_base: Path, tmp_path: Path, error: Exception, outcome: Outcome
) -> None:
    trials = [make_trial(random_base, TASK, seed=seed, max_epochs=2) for seed in (0, 1)]
    thrown = False

    def fault(name: str) -> None:
        nonlocal thrown
        if name == "epoch_trained" and not thrown:
            thrown = True
            raise error

    first, second = RecordingControl(), RecordingControl()
    trainer = Trainer(tmp_path, load_task=load, fault=fault)
    trainer.train([make_lease(trials[0])], first)
    trainer.train([make_lease(trials[1])], second)
    assert first.ended.outcome is outcome
    assert first.ended.error is not None
    assert str(error) in first.ended.error
    assert first.ended.unreported_train_s > 0
    assert second.ended.outcome is Outcome.COMPLETED


def test_another_base_than_planned_is_never_trained(random_base: Path, tmp_path: Path) -> None:
    ended = train(tmp_path, make_lease(make_trial(random_base, TASK, base_fingerprint="other"))).ended
    assert ended.outcome is Outcome.FAILED
    assert ended.error is not None
    assert "fingerprint" in ended.error


def test_another_task_than_planned_is_never_trained(random_base: Path, tmp_path: Path) -> None:
    ended = train(tmp_path, make_lease(make_trial(random_base, make_task(5)))).ended
    assert ended.outcome is Outcome.FAILED
    assert ended.error is not None
    assert "has other rows on this worker" in ended.error


def test_costs_are_measured(random_base: Path, tmp_path: Path) -> None:
    control = train(tmp_path, make_lease(make_trial(random_base, TASK)))
    for point in control.points:
        assert point.train_s > 0
        assert point.eval_s > 0
        assert point.cpu_s > 0
        assert point.peak_memory_bytes > 50_000_000
        assert point.device
    tokens = [point.tokens for point in control.points]
    assert tokens == sorted(tokens)
    assert [type(report) for report in control.reports[1:-1]] == [PointMeasured] * 3


# Checkpoints kept, adapters exported


def test_acknowledged_checkpoints_are_pruned_to_two(random_base: Path, tmp_path: Path) -> None:
    train(tmp_path, make_lease(make_trial(random_base, TASK, max_epochs=4)))
    kept = sorted(path.name for path in tmp_path.glob("checkpoints/*/attempt-0/*"))
    assert kept == ["epoch-0003", "epoch-0004"]


@pytest.mark.parametrize("quant", NAMES["quant"].words)
def test_the_best_epochs_adapter_reloads_and_measures_the_same(
    random_base: Path, tmp_path: Path, quant: str
) -> None:
    trial, epoch = wavering_trial(random_base, tmp_path, quant)
    best = train(tmp_path, make_lease(trial, keep_adapter=True)).points[epoch - 1]
    folder = tmp_path / "adapters" / trial.trial_id
    base = load_base(str(random_base), quant=quant)
    model = PeftModel.from_pretrained(base.structure_copy(), folder)
    encoded = encode_task(base.tokenizer, TASK, max_length_tokens=64)
    again = evaluate_split(model.base_model.model, base.tokenizer, encoded.validation, trial.settings)
    assert again.loss == pytest.approx(best.eval_loss, abs=1e-6)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        random_base
    )
    card = (folder / "README.md").read_text()
    assert trial.trial_id in card
    assert f"after epoch {best.epoch}" in card
    assert f"{best.eval_loss:.4f}" in card


@pytest.mark.parametrize("point", ["adapter_before_publish", "adapter_after_publish"])
def test_an_export_cut_short_is_done_again_on_resume(random_base: Path, tmp_path: Path, point: str) -> None:
    trial = make_trial(random_base, TASK, max_epochs=2)
    with pytest.raises(Crash):
        Trainer(tmp_path, load_task=load, fault=crash_at(point, visit=1)).train(
            [make_lease(trial, keep_adapter=True)], RecordingControl()
        )
    assert (tmp_path / "adapters" / trial.trial_id).exists() == (point == "adapter_after_publish")
    again = train(tmp_path, make_lease(trial, attempt=1, committed_epochs=2, keep_adapter=True))
    assert again.ended.outcome is Outcome.COMPLETED
    assert sorted(path.name for path in (tmp_path / "adapters").iterdir()) == [trial.trial_id]


def test_a_best_epoch_whose_weights_are_lost_is_trained_again(random_base: Path, tmp_path: Path) -> None:
    trial, best = wavering_trial(random_base, tmp_path)
    train(tmp_path, make_lease(trial, keep_adapter=True), control=RecordingControl(stop_at=3))
    for path in tmp_path.glob(f"checkpoints/{trial.trial_id}/*/epoch-{best:04d}/tensors.safetensors"):
        path.unlink()
    again = train(tmp_path, make_lease(trial, attempt=1, committed_epochs=3, keep_adapter=True))
    assert isinstance(again.reports[0], TrialStarted)
    assert again.reports[0].from_epoch == 0
    assert again.ended.outcome is Outcome.COMPLETED
    assert (tmp_path / "adapters" / trial.trial_id / "adapter_model.safetensors").exists()
