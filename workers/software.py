"""Which code and which libraries make a number, told alike by a driver and by its workers; loads no torch."""

import functools
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
_PACKAGES = ("orchestrator", "workers", "surrogates", "cluster")
_DISTRIBUTIONS = (
    *("foretune", "torch", "transformers", "peft", "bitsandbytes", "tokenizers", "safetensors", "datasets"),
    *("ray", "ConfigSpace", "numpy"),
)


@functools.cache
def software() -> Mapping[str, str]:
    """Return the code's digest, the platform, and the versions of what numbers depend on or ``absent``."""
    found = {
        "code_digest": code_digest(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@functools.cache
def code_digest() -> str:
    """Return a hash over all source files of the four packages, names and contents."""
    hasher = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            hasher.update(str(path.relative_to(CHECKOUT)).encode())
            hasher.update(path.read_bytes())
    return hasher.hexdigest()[:20]
