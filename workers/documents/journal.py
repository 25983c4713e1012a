"""Answers of a language model on disk: what was paid for once is not asked again.

A folder with one file an answer, named by the hash of all that the answer depends on. A file is there whole
or not at all, so that whatever ends the process leaves nothing to mend. Answers that could not be used are
kept as well: the same question would get them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import make_folder_durably, write_durably
from workers.endpoint import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One question's answer, or why there is none, and what it cost."""

    model: str
    content: Mapping[str, Any] | None
    """The answer; None if none could be used."""
    reason: str | None
    """Why none could be used."""
    usage: Usage


_ENTRY = TypeAdapter(JournalEntry)


class Journal:
    """A folder of answers; made if missing. May be used by several threads.

    Args:
        folder: Where they lie.

    Raises:
        OSError: It can't be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder_durably(folder)

    def read(self, key: str) -> JournalEntry | None:
        """Look up a question.

        Args:
            key: Of the question.

        Returns:
            Its entry, or None if there is none.

        Raises:
            InputError: What is there is no entry: someone changed it, or the disk did.
        """
        path = self._path(key)
        try:
            return _ENTRY.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise InputError(
                f"{path} is no answer of the journal any more; remove it, and its question is asked again"
            ) from error

    def write(self, key: str, entry: JournalEntry) -> None:
        """Keep an entry; it is on disk on return.

        Args:
            key: Of the question.
            entry: What to keep.

        Raises:
            OSError: It can't be written.
        """
        write_durably(self._path(key), _ENTRY.dump_json(entry, indent=1))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
