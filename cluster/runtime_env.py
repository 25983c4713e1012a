"""Ray's runtime environment as a person writes it: packages to install on the nodes, variables to set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from orchestrator.contracts import InputError, first_line

# After jobclient, which says how Ray authenticates before Ray is imported.
from ray.runtime_env import RuntimeEnv  # isort: skip

_OURS = ("working_dir", "excludes")


def load_runtime_env(path: Path) -> dict[str, Any]:
    """Read a runtime environment from YAML; files it names are taken from its folder.

    Args:
        path: The file.

    Returns:
        The environment, as Ray takes it.

    Raises:
        InputError: It can't be read, or Ray would not take it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise InputError(
            f"the runtime environment {path} can't be read: {' '.join(str(err).split())}"
        ) from err
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping such as `pip: [PACKAGE]`, got {type(content).__name__}")
    for key in ("pip", "uv", "conda"):
        value = content.get(key)
        if isinstance(value, str) and (path.parent / value).is_file():
            content[key] = str((path.parent / value).absolute())
    check_runtime_env(content, str(path))
    return content


def check_runtime_env(content: Mapping[str, Any], where: str) -> None:
    """Refuse a runtime environment that Ray would not take, or that would take the place of ours.

    Args:
        content: What the person wrote.
        where: Named in the error.

    Raises:
        InputError: It has keys that Ray does not know or that we set, or values Ray refuses.
    """
    ours = [key for key in _OURS if key in content]
    if ours:
        raise InputError(
            f"{where}: `{ours[0]}` can't be set: Foretune uploads a working directory of its own"
        )
    known = {key for key in RuntimeEnv.known_fields if not key.startswith("_")} - set(_OURS)
    unknown = sorted(map(str, set(content) - known))
    if unknown:
        raise InputError(
            f"{where}: unknown key `{unknown[0]}`; Ray's runtime environment knows {', '.join(sorted(known))}"
        )
    try:
        RuntimeEnv(**content)
    except (TypeError, ValueError) as err:
        raise InputError(f"{where}: {first_line(err)}") from err
