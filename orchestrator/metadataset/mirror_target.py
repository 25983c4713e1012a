"""Where a mirror is written: object storage, or a folder, through ``pyarrow.fs``.

Every object appears whole or not at all: a put to S3 or GCS is one step, and in a folder the content is
written aside and renamed. Nothing is ever removed, and nothing overwritten that another wrote: an index says
whose the mirror is and what it holds.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import write_durably

INDEX_NAME = "_mirror/index.json"
INDEX_VERSION = 1
REQUEST_TIMEOUT_S = 5.0
"""So long a store may say nothing."""
REQUEST_TRIES = 2
"""Two, as an idle connection may have been closed. A request that no one answers then ends after 25 s
(measured), and the process that made it can't end before."""
_SCHEMES = ("s3", "gs", "gcs", "file")
_USER_INFO = re.compile(r"(?<=://)[^/@]*@")


@dataclass(frozen=True, slots=True)
class Content:
    """What tells one content of a file from another."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Index:
    """Whose a mirror is, and what was put there."""

    birth: str | None
    """The hash of the root's first row; None before there was one."""
    files: Mapping[str, Content]


class MirrorTarget:
    """A place in a store.

    Args:
        uri: ``s3://BUCKET/PREFIX``, ``gs://BUCKET/PREFIX`` or ``file:///FOLDER``; options as pyarrow parses
            them.

    Raises:
        InputError: It can't be understood.
    """

    def __init__(self, uri: str) -> None:
        self.name = _USER_INFO.sub("", uri)
        """The URI without a key that may be in it."""
        scheme = uri.partition("://")[0]
        if scheme not in _SCHEMES:
            raise InputError(
                f"--mirror must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or file:///FOLDER, got {self.name}"
            )
        try:
            store, base = fs.FileSystem.from_uri(uri)
            self._store = _bounded(store)
        except (pa.ArrowException, OSError) as err:
            reason = brief(err).replace(uri, self.name)
            raise InputError(f"--mirror {self.name} can't be used: {reason}; a space is written %20") from err
        self._base = base.rstrip("/")
        if not self._base:
            raise InputError(f"--mirror must name a bucket or a folder, got {self.name}")

    def put(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all.

        Args:
            name: Its path under the mirror.
            content: All of it.

        Raises:
            OSError: The store refused, or did not answer.
            pa.ArrowException: Likewise.
        """
        path = f"{self._base}/{name}"
        if self._store.type_name == "local":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_durably(Path(path), content)
            return
        with self._store.open_output_stream(path, compression=None) as sink:
            sink.write(content)

    def index(self) -> Index | None:
        """Read what the mirror says of itself.

        Returns:
            The index; None if there is none.

        Raises:
            InputError: It can't be understood.
            OSError: The store refused, or did not answer.
            pa.ArrowException: Likewise.
        """
        path = f"{self._base}/{INDEX_NAME}"
        if self._store.get_file_info(path).type != fs.FileType.File:
            return None
        with self._store.open_input_stream(path, compression=None) as source:
            text = source.read()
        try:
            content = json.loads(text)
            if content["version"] > INDEX_VERSION:
                raise InputError(
                    f"--mirror {self.name}: its index is of version {content['version']}, newer than this "
                    "program; use the program that wrote it, or choose an empty prefix"
                )
            files = {name: Content(**entry) for name, entry in content["files"].items()}
            return Index(birth=content["birth"], files=files)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise InputError(
                f"--mirror {self.name}: {INDEX_NAME} is no index of ours ({err}); choose an empty prefix"
            ) from err

    def put_index(self, index: Index) -> None:
        """Write the index; raises as ``put``."""
        files = {name: asdict(entry) for name, entry in sorted(index.files.items())}
        content = {"version": INDEX_VERSION, "birth": index.birth, "files": files}
        self.put(INDEX_NAME, json.dumps(content, indent=1).encode())

    def sizes(self, names: list[str]) -> dict[str, int]:
        """Return the size in bytes of those of some objects that are there; raises as ``put``."""
        if not names:
            return {}
        found = self._store.get_file_info([f"{self._base}/{name}" for name in names])
        return {
            name: info.size for name, info in zip(names, found, strict=True) if info.type == fs.FileType.File
        }

    def holds_any(self, names: list[str]) -> str | None:
        """Return the first of some files or folders that is there; raises as ``put``."""
        found = self._store.get_file_info([f"{self._base}/{name}" for name in names])
        return next(
            (name for name, info in zip(names, found, strict=True) if info.type != fs.FileType.NotFound), None
        )


def _bounded(store: fs.FileSystem) -> fs.FileSystem:
    """Return the same store with time-outs of ours: pyarrow's tries took 99 s, and a URI can't set them."""
    changes: dict[str, Any] = {}
    match store.type_name:
        case "s3":
            changes = {
                "connect_timeout": REQUEST_TIMEOUT_S,
                "request_timeout": REQUEST_TIMEOUT_S,
                "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=REQUEST_TRIES),
                # A small object is one put instead of the three steps of an upload in parts.
                "allow_delayed_open": True,
            }
        case "gcs":
            changes = {"retry_time_limit": timedelta(seconds=REQUEST_TRIES * REQUEST_TIMEOUT_S)}
    if not changes:
        return store
    # What a store is pickled by: the options that rebuild it.
    _, (options,) = store.__reduce__()
    return type(store)(**{**options, **changes})


def brief(err: Exception) -> str:
    """Return the first line of an error's text, or its kind if it has none."""
    lines = str(err).splitlines()
    return lines[0] if lines else type(err).__name__
