"""Checkpoints of a trial, one after every epoch, and the promise that a half-written one is never read.

    ROOT/checkpoints/TRIAL/attempt-0/epoch-0003/{tensors.safetensors, checkpoint.json}

An attempt writes into its own folder alone, so that one that was thought dead can't spoil its successor's. A
checkpoint is written aside, fsynced and renamed; its JSON holds the tensors' SHA-256 and its own, so that a
torn or altered one is known as such. What stands survives restarts; ``release`` removes it.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from orchestrator.contracts import CurvePoint
from orchestrator.metadataset.durable import Fault, no_fault
from orchestrator.metadataset.layout import RootLayout

_log = logging.getLogger(__name__)

_VERSION = 1
_TENSORS, _FACTS = "tensors.safetensors", "checkpoint.json"
_ATTEMPT, _EPOCH = re.compile(r"attempt-(\d+)"), re.compile(r"epoch-(\d+)")

_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All that a trial needs to go on after an epoch."""

    trial_id: str
    epoch: int
    step: int
    tokens: int
    curve: tuple[CurvePoint, ...]
    """The points of all epochs so far, as this or earlier attempts measured them."""
    weights: Mapping[str, torch.Tensor]
    """The adapter's, by parameter name."""
    optimizer_tensors: Mapping[str, torch.Tensor]
    optimizer_numbers: Mapping[str, Mapping[str, Any]]


class CheckpointStore:
    """The checkpoints under one root."""

    def __init__(self, root: Path, *, fault: Fault = no_fault) -> None:
        self._folder = RootLayout(root).checkpoints_dir
        self._fault = fault

    def save(self, checkpoint: Checkpoint, attempt: int) -> None:
        """Write a checkpoint; when this returns it is on disk, and until then it does not exist.

        Args:
            checkpoint: The trial's state after an epoch.
            attempt: Whose folder it goes to.

        Raises:
            OSError: The storage is full, read-only or broken.
        """
        target = self._attempt_folder(checkpoint.trial_id, attempt) / f"epoch-{checkpoint.epoch:04d}"
        aside = target.with_name(f".{target.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        is_first = not target.parent.is_dir()
        aside.mkdir(parents=True)
        tensors = {f"weights/{name}": tensor for name, tensor in checkpoint.weights.items()}
        tensors |= {f"optimizer/{name}": tensor for name, tensor in checkpoint.optimizer_tensors.items()}
        owned = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        try:
            save_file(owned, aside / _TENSORS)
        except SafetensorError as error:  # it hides the system's error number in its text
            raise OSError(errno.EIO, f"{aside / _TENSORS} can't be written: {error}") from error
        self._fault("checkpoint_tensors_written")
        facts = {
            "version": _VERSION,
            "trial_id": checkpoint.trial_id,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "tokens": checkpoint.tokens,
            "curve": [asdict(point) for point in checkpoint.curve],
            "optimizer_numbers": checkpoint.optimizer_numbers,
            "tensors_sha256": _file_sha256(aside / _TENSORS),
        }
        text = json.dumps(facts, allow_nan=False)
        (aside / _FACTS).write_text(
            f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n", encoding="utf-8"
        )
        for name in (_TENSORS, _FACTS):
            fsync_path(aside / name)
        fsync_path(aside)
        self._fault("checkpoint_before_publish")
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        fsync_path(target.parent)
        if is_first:
            for folder in (target.parent.parent, self._folder, self._folder.parent):
                fsync_path(folder)
        self._fault("checkpoint_after_publish")

    def newest(self, trial_id: str, attempt: int) -> Checkpoint | None:
        """Return the valid checkpoint of the latest epoch, by this attempt or one before it, or None."""
        found = []
        for folder in self._trial_folder(trial_id).glob("attempt-*/epoch-*"):
            by, epoch = _ATTEMPT.fullmatch(folder.parent.name), _EPOCH.fullmatch(folder.name)
            if by and epoch and int(by[1]) <= attempt:
                found.append((int(epoch[1]), int(by[1]), folder))
        for _, _, folder in sorted(found, reverse=True):
            checkpoint = _read(folder, trial_id)
            if checkpoint is not None:
                return checkpoint
        return None

    def weights_of(self, trial_id: str, epoch: int) -> dict[str, torch.Tensor] | None:
        """Return the adapter's weights after an epoch, from whichever attempt kept them; None if none did."""
        for folder in sorted(self._trial_folder(trial_id).glob(f"attempt-*/epoch-{epoch:04d}")):
            checkpoint = _read(folder, trial_id)
            if checkpoint is not None:
                return dict(checkpoint.weights)
        return None

    def prune(self, trial_id: str, *, acknowledged_epoch: int, keep_epoch: int | None) -> None:
        """Remove what is no longer needed.

        Args:
            trial_id: The trial.
            acknowledged_epoch: The rows up to this epoch are on record; of the checkpoints up to here the
                last two stay, in case the last turns out to be damaged. Later ones all stay.
            keep_epoch: An epoch whose checkpoint stays in any case.
        """
        folders: dict[int, list[Path]] = {}
        for folder in self._trial_folder(trial_id).glob("attempt-*/epoch-*"):
            match = _EPOCH.fullmatch(folder.name)
            if match and int(match[1]) <= acknowledged_epoch:
                folders.setdefault(int(match[1]), []).append(folder)
        for epoch in sorted(folders)[:-2]:
            if epoch != keep_epoch:
                for folder in folders[epoch]:
                    shutil.rmtree(folder, ignore_errors=True)

    def release(self, trial_id: str, attempt: int) -> None:
        """Remove a trial's checkpoints by this attempt and those before it, if there are any."""
        trial_folder = self._trial_folder(trial_id)
        for folder in trial_folder.glob("attempt-*"):
            by = _ATTEMPT.fullmatch(folder.name)
            if by and int(by[1]) <= attempt:
                shutil.rmtree(folder, ignore_errors=True)
        if trial_folder.is_dir() and not any(trial_folder.iterdir()):
            trial_folder.rmdir()

    def _trial_folder(self, trial_id: str) -> Path:
        return self._folder / trial_id

    def _attempt_folder(self, trial_id: str, attempt: int) -> Path:
        return self._trial_folder(trial_id) / f"attempt-{attempt}"


def is_storage_error(error: BaseException) -> bool:
    """Whether the root's storage, and not the trial, is to blame: full, read-only, broken or gone."""
    return isinstance(error, OSError) and error.errno in _STORAGE_ERRORS


def fsync_path(path: Path) -> None:
    """Force a file, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(folder: Path, trial_id: str) -> Checkpoint | None:
    """Read a checkpoint; a damaged one is logged and not returned."""
    try:
        return _parse(folder, trial_id)
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("checkpoint ignored path=%s reason=%s", folder, error)
        return None


def _parse(folder: Path, trial_id: str) -> Checkpoint:
    """Read a checkpoint and check every byte of it."""
    digest, _, text = (folder / _FACTS).read_text(encoding="utf-8").partition("\n")
    text = text.removesuffix("\n")
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError(f"{_FACTS} is not what was written")
    facts = json.loads(text)
    if facts["version"] != _VERSION or facts["trial_id"] != trial_id:
        raise ValueError(f"version {facts['version']} of trial {facts['trial_id']} is not for this trial")
    if _file_sha256(folder / _TENSORS) != facts["tensors_sha256"]:
        raise ValueError(f"{_TENSORS} is not what was written")
    tensors = load_file(folder / _TENSORS)
    return Checkpoint(
        trial_id=facts["trial_id"],
        epoch=facts["epoch"],
        step=facts["step"],
        tokens=facts["tokens"],
        curve=tuple(CurvePoint(**point) for point in facts["curve"]),
        weights=_under(tensors, "weights/"),
        optimizer_tensors=_under(tensors, "optimizer/"),
        optimizer_numbers=facts["optimizer_numbers"],
    )


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
