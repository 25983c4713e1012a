"""Libraries of other tools, imported when they are needed."""

import importlib
from types import ModuleType

from orchestrator.contracts import InputError


def peer(module: str) -> ModuleType:
    """Import a module of a peer's library.

    Args:
        module: Its dotted name.

    Returns:
        The module.

    Raises:
        InputError: The library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise InputError(f"{module} can't be imported ({err}); pip install 'foretune[peers]'") from err
