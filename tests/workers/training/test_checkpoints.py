"""Checkpoints under faults: what is read is what was written, or an earlier one, never half of one."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError

from orchestrator.contracts import ConfigId, CurvePoint, TaskId, TrialId
from workers.training.checkpoints import Checkpoint, CheckpointStore, is_storage_error

TRIAL = "0a1b2c"


class Crash(BaseException):
    """The process dies here."""


def point(epoch: int, **changes: Any) -> CurvePoint:
    fields: dict[str, Any] = {name: 0.1 * epoch for name in CurvePoint.__dataclass_fields__}
    fields |= {
        "trial_id": TrialId(TRIAL),
        "task_id": TaskId("t"),
        "config_id": ConfigId("c"),
        "device": "cpu",
    }
    fields |= {
        "attempt": 0,
        "seed": 0,
        "epoch": epoch,
        "step": 3 * epoch,
        "tokens": 7,
        "peak_memory_bytes": 1,
    }
    return CurvePoint(**(fields | changes))


def checkpoint(epoch: int) -> Checkpoint:
    shared = torch.full((4,), float(epoch))
    return Checkpoint(
        trial_id=TRIAL,
        epoch=epoch,
        step=3 * epoch,
        tokens=7 * epoch,
        curve=tuple(point(number) for number in range(1, epoch + 1)),
        weights={"layer.lora_A": torch.arange(6.0).reshape(2, 3).T + epoch, "layer.lora_B": shared},
        optimizer_tensors={"layer.lora_A|step": torch.tensor(float(epoch)), "layer.lora_B|qmap": shared},
        optimizer_numbers={"layer.lora_A": {"step": epoch}},
    )


def same(first: Checkpoint | None, second: Checkpoint) -> bool:
    assert first is not None
    tensors = [
        (one[name], other[name])
        for one, other in (
            (first.weights, second.weights),
            (first.optimizer_tensors, second.optimizer_tensors),
        )
        for name in other
    ]
    plain = [(c.epoch, c.step, c.tokens, c.curve, dict(c.optimizer_numbers)) for c in (first, second)]
    return plain[0] == plain[1] and all(torch.equal(one, other) for one, other in tensors)


def epochs_kept(root: Path) -> list[int]:
    return sorted(int(path.name[-4:]) for path in root.glob(f"checkpoints/{TRIAL}/attempt-*/epoch-*"))


def test_what_is_saved_comes_back_whole(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1), attempt=0)
    store.save(checkpoint(2), attempt=0)
    assert same(store.newest(TRIAL, 0), checkpoint(2))


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path).newest(TRIAL, 3) is None


def test_a_later_attempt_sees_an_earlier_ones_and_not_the_other_way_round(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1), attempt=0)
    store.save(checkpoint(2), attempt=2)
    assert same(store.newest(TRIAL, 1), checkpoint(1))
    assert same(store.newest(TRIAL, 2), checkpoint(2))


@pytest.mark.parametrize("point_name", ["checkpoint_tensors_written", "checkpoint_before_publish"])
def test_a_crash_before_publishing_leaves_the_one_before(tmp_path: Path, point_name: str) -> None:
    CheckpointStore(tmp_path).save(checkpoint(1), attempt=0)

    def crash(name: str) -> None:
        if name == point_name:
            raise Crash

    with pytest.raises(Crash):
        CheckpointStore(tmp_path, fault=crash).save(checkpoint(2), attempt=0)
    store = CheckpointStore(tmp_path)
    assert same(store.newest(TRIAL, 0), checkpoint(1))
    store.save(checkpoint(2), attempt=0)
    assert same(store.newest(TRIAL, 0), checkpoint(2))


def test_a_crash_after_publishing_keeps_it(tmp_path: Path) -> None:
    def crash(name: str) -> None:
        if name == "checkpoint_after_publish":
            raise Crash

    with pytest.raises(Crash):
        CheckpointStore(tmp_path, fault=crash).save(checkpoint(1), attempt=0)
    assert same(CheckpointStore(tmp_path).newest(TRIAL, 0), checkpoint(1))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_flipped_or_missing_byte_falls_back_to_the_epoch_before(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("root")
    store = CheckpointStore(root)
    store.save(checkpoint(1), attempt=0)
    store.save(checkpoint(2), attempt=0)
    folder = root / "checkpoints" / TRIAL / "attempt-0" / "epoch-0002"
    damaged = folder / data.draw(st.sampled_from(["tensors.safetensors", "checkpoint.json"]))
    content = bytearray(damaged.read_bytes())
    # The JSON's last byte, a line's end, carries nothing.
    place = data.draw(st.integers(0, len(content) - 2))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
        damaged.write_bytes(content)
    else:
        damaged.write_bytes(content[:place])
    assert same(store.newest(TRIAL, 0), checkpoint(1))


def test_a_damaged_checkpoint_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1), attempt=0)
    (tmp_path / "checkpoints" / TRIAL / "attempt-0" / "epoch-0001" / "tensors.safetensors").unlink()
    with caplog.at_level(logging.WARNING):
        assert store.newest(TRIAL, 0) is None
    assert "epoch-0001" in caplog.text


def test_of_another_trials_checkpoint_nothing_is_taken(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1), attempt=0)
    (tmp_path / "checkpoints" / TRIAL).rename(tmp_path / "checkpoints" / "other")
    assert store.newest("other", 0) is None


@given(st.integers(1, 8), st.integers(0, 8), st.one_of(st.none(), st.integers(1, 8)))
@settings(max_examples=30, deadline=None)
def test_pruning_keeps_two_acknowledged_the_unacknowledged_and_the_best(
    tmp_path_factory: pytest.TempPathFactory, last: int, acknowledged: int, best: int | None
) -> None:
    root = tmp_path_factory.mktemp("root")
    store = CheckpointStore(root)
    for epoch in range(1, last + 1):
        store.save(checkpoint(epoch), attempt=epoch % 2)
    store.prune(TRIAL, acknowledged_epoch=acknowledged, keep_epoch=best)
    expected = {epoch for epoch in range(1, last + 1) if epoch > min(acknowledged, last) - 2 or epoch == best}
    assert epochs_kept(root) == sorted(expected)


def test_release_removes_older_attempts_and_spares_later_ones(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1), attempt=0)
    store.save(checkpoint(2), attempt=1)
    store.release(TRIAL, 0)
    assert epochs_kept(tmp_path) == [2]
    store.release(TRIAL, 1)
    assert not (tmp_path / "checkpoints" / TRIAL).exists()
    store.release(TRIAL, 1)


def test_weights_of_an_epoch_are_found_whichever_attempt_kept_them(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(1), attempt=1)
    weights = store.weights_of(TRIAL, 1)
    assert weights is not None
    assert torch.equal(weights["layer.lora_A"], checkpoint(1).weights["layer.lora_A"])
    assert store.weights_of(TRIAL, 2) is None


def test_tensors_that_cannot_be_written_are_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("workers.training.checkpoints.save_file", full)
    with pytest.raises(OSError, match="No space left on device") as refusal:
        CheckpointStore(tmp_path).save(checkpoint(1), attempt=0)
    assert is_storage_error(refusal.value)
    assert CheckpointStore(tmp_path).newest(TRIAL, 0) is None
