"""Which code and which libraries made a row."""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGES = ("orchestrator", "workers", "surrogates", "cluster")
_LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "ray", "ConfigSpace")


@functools.cache
def provenance() -> Mapping[str, str]:
    """Return the code's commit and digest and the versions of what its numbers depend on."""
    record = {
        "foretune": version("foretune"),
        "code_digest": code_digest(),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for library in _LIBRARIES:
        try:
            record[library] = version(library)
        except PackageNotFoundError:
            record[library] = "absent"
    return record


@functools.cache
def code_digest() -> str:
    """Return a hash over all source files of the four packages, names and contents."""
    hasher = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((_CHECKOUT / package).rglob("*.py")):
            hasher.update(str(path.relative_to(_CHECKOUT)).encode())
            hasher.update(path.read_bytes())
    return hasher.hexdigest()[:20]


def _commit() -> str:
    """Return the checkout's commit, marked where files differ from it; ``unknown`` outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_CHECKOUT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        dirty = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
        return git("rev-parse", "HEAD") + dirty
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
