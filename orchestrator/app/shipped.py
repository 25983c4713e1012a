"""The meta-dataset that ships with Foretune: what is learned from until a person has one of their own.

``python -m orchestrator.app.shipped`` learns from it at once, so that the first question need not wait for
that; the Makefile does so after an installation.
"""

import hashlib
import secrets
import shutil
from contextlib import ExitStack
from pathlib import Path

import surrogates
from orchestrator.contracts import InputError
from orchestrator.metadataset.layout import RootLayout
from workers.metafeatures.cache import FOLDER_VARIABLE, cache_folder

SHIPPED = Path(surrogates.__file__).parent / "shipped"
"""Roots of finished sweeps, side by side; read only."""
NAME = "tiny-1800"
"""The one that is asked."""


def shipped_root(source: Path = SHIPPED / NAME) -> Path:
    """Return a copy of the shipped root in the user's cache, where what is learned from it can be kept.

    The copy appears whole or not at all, and is made anew when another release ships other files.

    Args:
        source: The root that ships.

    Returns:
        The copy's folder.

    Raises:
        InputError: Nothing was shipped, or the cache can't be written.
    """
    if not RootLayout(source).sweep_yaml.is_file():
        raise InputError(
            f"{source} holds no meta-dataset: this copy of Foretune came without it; name a sweep with --root"
        )
    caches = cache_folder()
    if caches is None:
        raise InputError(f"there is no home folder for a cache; name one with {FOLDER_VARIABLE}")
    copy = caches / "shipped" / f"{source.name}-{_digest(source)[:12]}"
    if not copy.is_dir():
        aside = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
        try:
            shutil.copytree(source, aside)
            aside.rename(copy)
        except OSError as err:
            shutil.rmtree(aside, ignore_errors=True)
            if not copy.is_dir():  # another process may have been first
                raise InputError(
                    f"{copy} can't be written ({err}); name another folder with {FOLDER_VARIABLE}"
                ) from err
    return copy


def is_shipped(root: Path) -> bool:
    """Return whether a root is such a copy."""
    caches = cache_folder()
    return caches is not None and root.absolute().is_relative_to((caches / "shipped").absolute())


def prepare() -> Path:
    """Learn from the shipped root, unless that was done, and keep it beside the copy; return the copy.

    Returns:
        The copy's folder. What can't be read or written is an ``InputError``.
    """
    from orchestrator.app.askers import find_asker

    root = shipped_root()
    with ExitStack() as connection:
        find_asker(root, connection)
    return root


def _digest(folder: Path) -> str:
    hasher = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        hasher.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return hasher.hexdigest()


if __name__ == "__main__":
    prepare()
