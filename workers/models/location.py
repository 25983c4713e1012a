"""Where a base model's files lie, and their fingerprint; loads no weights and imports no torch."""

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.contracts import InputError, first_line

EMBEDDED = "tiny-phi3"
"""Name of the model that ships with the project."""

REHEARSAL = "rehearsal"
"""Base model of sweeps that rehearse the orchestration and finetune nothing; ``rehearsal:0.5`` takes half a
second an epoch."""
_REHEARSAL_FINGERPRINT = "rehearsal-1"
"""Changes with what rehearsed trials measure."""

_MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "*.safetensors",
    "*.safetensors.index.json",
)
"""What decides a model's numbers; cards and logs beside it do not."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLocation:
    """A base model's files: a folder here, or a commit of a hub repository."""

    name: str
    """As a sweep gives it."""
    path_or_id: str
    """What ``from_pretrained`` is given, and an adapter's config records."""
    revision: str | None
    """Commit of a hub repository; None for a folder."""
    fingerprint: str

    @property
    def options(self) -> dict[str, str]:
        """What ``from_pretrained`` is given beside ``path_or_id``; the caller's own."""
        return {"revision": self.revision} if self.revision else {}


def locate(base_model: str) -> ModelLocation:
    """Find a base model's files.

    Args:
        base_model: ``tiny-phi3``, a folder, or ``ID@REVISION`` of the Hugging Face hub.

    Returns:
        The location, with the fingerprint: the hash of a folder's files, or the resolved commit.

    Raises:
        InputError: There is no such model, or it has no safetensors weights.
    """
    if rehearsal_epoch_s(base_model) is not None:
        return ModelLocation(
            name=base_model, path_or_id=REHEARSAL, revision=None, fingerprint=_REHEARSAL_FINGERPRINT
        )
    if base_model == EMBEDDED:
        from workers.models.tiny_phi3 import PATH

        return _folder(base_model, Path(PATH))
    folder = Path(base_model).expanduser()
    if folder.is_dir():
        return _folder(base_model, folder)
    repository, _, revision = base_model.partition("@")
    if not _HUB_ID.fullmatch(repository):
        raise InputError(
            f"base model {base_model!r} is not there: no such folder; give {EMBEDDED}, a folder with "
            "config.json and *.safetensors, or ID@REVISION of the Hugging Face hub"
        )
    commit = _resolve_commit(base_model, repository, revision or "main")
    return ModelLocation(name=base_model, path_or_id=repository, revision=commit, fingerprint=commit)


def base_fingerprint(base_model: str) -> str:
    """Return the hash of a base model's files, or its resolved hub commit, without loading weights.

    Args:
        base_model: ``tiny-phi3``, a folder, or ``ID@REVISION`` of the Hugging Face hub.

    Returns:
        64 hexadecimal digits for a folder, 40 for a hub commit. A model that is not there is refused as by
        ``locate``.
    """
    return locate(base_model).fingerprint


def rehearsal_epoch_s(base_model: str) -> float | None:
    """Return the seconds that an epoch of a rehearsed trial takes; None if the base model is a real one.

    Args:
        base_model: As a sweep gives it.

    Returns:
        Seconds, 0 for ``rehearsal`` alone.

    Raises:
        InputError: What follows ``rehearsal`` is no duration.
    """
    name, separator, seconds = base_model.partition(":")
    if name != REHEARSAL:
        return None
    try:
        epoch_s = float(seconds) if separator else 0.0
    except ValueError:
        epoch_s = math.nan
    if not 0 <= epoch_s < math.inf:
        raise InputError(
            f"base model {base_model!r}: what follows `{REHEARSAL}:` is the seconds an epoch takes, such as "
            f"{REHEARSAL}:0.05"
        )
    return epoch_s


def _folder(name: str, folder: Path) -> ModelLocation:
    """Hash a folder's model files, in the order of their names."""
    files = sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern)})
    names = {path.name for path in files}
    if "config.json" not in names:
        raise InputError(
            f"base model {name!r}: {folder} has no config.json; give a folder saved by transformers"
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise InputError(
            f"base model {name!r}: {folder} has no *.safetensors weights, and other formats are not loaded; "
            "save it with save_pretrained(..., safe_serialization=True)"
        )
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            whole.update(f"{path.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return ModelLocation(
        name=name, path_or_id=str(folder.resolve()), revision=None, fingerprint=whole.hexdigest()
    )


def _resolve_commit(base_model: str, repository: str, revision: str) -> str:
    """Return the commit of a hub revision: from the local cache if it is there, else from the hub."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True)).name
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise InputError(f"base model {base_model!r} is no valid hub id: {error}") from error
    try:
        found = HfApi().model_info(repository, revision=revision)
    except Exception as error:  # the transports behind it (requests, httpx) have no common root
        raise InputError(
            f"base model {base_model!r} is neither a folder here nor in the Hugging Face cache, and the hub "
            f"gave no answer for it ({first_line(error)}); check the id and revision, or download it first"
        ) from error
    if found.sha is None:
        raise InputError(f"base model {base_model!r}: the hub names no commit for revision {revision!r}")
    if found.siblings and not any(file.rfilename.endswith(".safetensors") for file in found.siblings):
        raise InputError(
            f"base model {base_model!r}: revision {revision!r} has no *.safetensors weights, and other "
            "formats are not loaded; give a revision that has them, or a folder that it was saved to with "
            "save_pretrained(..., safe_serialization=True)"
        )
    return found.sha
