"""Python and the installed packages against what this version of Foretune declares and was tested with."""

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from cluster.doctor import Finding, Status
from workers.software import CHECKOUT

_DISTRIBUTION = "foretune"
_SHOWN = 4
PINS_FILE = CHECKOUT / "constraints.txt"
"""In a checkout only."""


def python_found(running: str | None = None) -> Finding:
    """Tell whether this Python is one that Foretune runs on.

    Args:
        running: Its version; None: this process'.

    Returns:
        A failure where it is too old.
    """
    running = running or platform.python_version()
    try:
        wanted = metadata(_DISTRIBUTION)["Requires-Python"]
    except PackageNotFoundError:
        wanted = None
    if not wanted:
        return Finding("Python", Status.NOT_CHECKED, f"{running}; Foretune runs here without being installed")
    if not SpecifierSet(wanted).contains(running, prereleases=True):
        advice = "make a new virtual environment: make PYTHON=/path/to/python3.11 quickstart"
        return Finding("Python", Status.FAILED, f"{running}, and {wanted} is needed", advice)
    return Finding("Python", Status.OK, f"{running} ({wanted} is needed)")


def packages_found() -> Finding:
    """Tell whether the packages that are installed are those that Foretune needs."""
    try:
        declared = metadata(_DISTRIBUTION).get_all("Requires-Dist") or []
    except PackageNotFoundError:
        declared = []
    if not declared:
        return Finding("packages", Status.NOT_CHECKED, "Foretune runs here without being installed")
    wanted = [Requirement(line) for line in declared]
    needed = [
        requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()
    ]
    return judge_packages(needed, _installed(needed), read_pins(PINS_FILE))


def judge_packages(
    needed: Iterable[Requirement], installed: Mapping[str, str], pins: Mapping[str, str]
) -> Finding:
    """Compare versions.

    Args:
        needed: What is declared.
        installed: Versions by name in its one spelling; what is not there is absent.
        pins: The versions that were tested together, likewise; may be empty.

    Returns:
        A failure where a package is absent or too old.
    """
    names = {canonicalize_name(requirement.name): requirement for requirement in needed}
    absent = sorted(requirement.name for name, requirement in names.items() if name not in installed)
    too_old = sorted(
        f"{requirement.name} {installed[name]} ({requirement.specifier} is needed)"
        for name, requirement in names.items()
        if name in installed and not requirement.specifier.contains(installed[name], prereleases=True)
    )
    how = " -c constraints.txt" if pins else ""
    if absent or too_old:
        told = [*(f"{name} is absent" for name in absent), *too_old]
        return Finding("packages", Status.FAILED, "; ".join(told), f"pip install{how} --upgrade foretune")
    other = sorted(
        f"{names[name].name} {installed[name]} ({pins[name]})"
        for name in names
        if name in pins and Version(installed[name]).public != Version(pins[name]).public
    )
    text = f"{len(names)} that are needed, all new enough"
    if not pins:
        return Finding("packages", Status.OK, text)
    if not other:
        return Finding("packages", Status.OK, f"{text}, as pinned in constraints.txt")
    shown = ", ".join(other[:_SHOWN]) + (", ..." if len(other) > _SHOWN else "")
    return Finding(
        "packages",
        Status.OK,
        f"{text}; {len(other)} differ from constraints.txt: {shown}",
        "pip install -c constraints.txt foretune, if numbers are to be those of others to the last bit",
    )


def read_pins(path: Path) -> dict[str, str]:
    """Return the versions that a constraints file pins, by name in its one spelling; none without it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("#")[0].strip().partition("==") for line in lines)
    return {canonicalize_name(name): pinned for name, _, pinned in pairs if pinned}


def _installed(needed: Iterable[Requirement]) -> dict[str, str]:
    found: dict[str, str] = {}
    for requirement in needed:
        try:
            found[canonicalize_name(requirement.name)] = version(requirement.name)
        except PackageNotFoundError:
            continue
    return found
