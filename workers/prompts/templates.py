"""Prompts in files: what the system says, a line of three dashes, what the user says.

``$name`` stands for what is filled in, ``$$`` for a dollar sign. A comment of HTML at the head of a file says
what the names mean; the model does not see it.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from orchestrator.contracts import InputError
from workers.endpoint.records import Message

_ENDING = ".md"
_COMMENT = re.compile(r"\A\s*<!--.*?-->", re.DOTALL)
_BORDER = re.compile(r"^---[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Prompt:
    """Two turns of a chat with gaps to fill."""

    system: str
    user: str

    def fill(self, **values: str) -> tuple[Message, Message]:
        """Return the turns with all names filled in; dollar signs in the values mean nothing."""
        return (
            Message("system", string.Template(self.system).substitute(values)),
            Message("user", string.Template(self.user).substitute(values)),
        )


def shipped_prompt(name: str) -> str:
    """Return the text of a prompt that ships with the project, as it stands in its file."""
    return resources.files(__package__).joinpath(f"{name}{_ENDING}").read_text(encoding="utf-8")


def load_prompts(fields: Mapping[str, frozenset[str]], folder: Path | None = None) -> dict[str, Prompt]:
    """Load prompts, those of a folder in place of those that ship.

    Args:
        fields: Each prompt's name to the names that have to stand in it, and no others.
        folder: Holds ``NAME.md`` for those that are to be other than shipped; None: all as shipped.

    Returns:
        The prompts by name.

    Raises:
        InputError: The folder can't be read, holds a prompt that is none of these, or one that can't be
            filled in.
    """
    own = {} if folder is None else _files(folder, fields)
    prompts = {}
    problems = []
    for name, wanted in fields.items():
        source = str(own[name]) if name in own else f"the shipped prompt {name}"
        try:
            text = own[name].read_text(encoding="utf-8") if name in own else shipped_prompt(name)
            prompts[name] = _parse(text, wanted)
        except (OSError, ValueError) as error:
            problems.append(f"{source}: {error}")
    if problems:
        raise InputError(*problems)
    return prompts


def _files(folder: Path, fields: Mapping[str, frozenset[str]]) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(
            f"no folder of prompts at {folder}; make one with `foretune generate prompts --out DIR`"
        )
    files = {path.stem: path for path in sorted(folder.glob(f"*{_ENDING}"))}
    unknown = sorted(set(files) - set(fields))
    if unknown or not files:
        found = f"{', '.join(unknown)}, which is no prompt" if unknown else "no prompt"
        raise InputError(f"{folder} holds {found}; prompts are {', '.join(f'{n}{_ENDING}' for n in fields)}")
    return files


def _parse(text: str, wanted: frozenset[str]) -> Prompt:
    """Split a file's text into its turns, or raise ValueError with what is wrong with it."""
    parts = _BORDER.split(_COMMENT.sub("", text), maxsplit=1)
    if len(parts) != 2 or not all(part.strip() for part in parts):
        raise ValueError("needs what the system says, a line ---, and what the user says")
    templates = [string.Template(part.strip()) for part in parts]
    if not all(template.is_valid() for template in templates):
        raise ValueError("a $ stands before no name; write $$ for a dollar sign")
    found = {name for template in templates for name in template.get_identifiers()}
    if found != wanted:
        missing = ", ".join(f"${name}" for name in sorted(wanted - found))
        unknown = ", ".join(f"${name}" for name in sorted(found - wanted))
        faults = [f"{missing} is missing"] * bool(missing) + [f"{unknown} is unknown"] * bool(unknown)
        raise ValueError(f"{' and '.join(faults)}; write $$ for a dollar sign")
    return Prompt(*(template.template for template in templates))
