"""Whether Ray will ask for a token and have one, read as Ray itself looks for it. No token is ever told."""

import stat
from collections.abc import Mapping
from pathlib import Path

from cluster.doctor.finding import Finding, Status

_NAME = "Ray token"
_MAKE_ONE = "`ray get-auth-token --generate` makes one"


def ray_token(environment: Mapping[str, str], home: Path, *, for_address: str | None) -> Finding:
    """Tell how this process would authenticate to Ray.

    Args:
        environment: Variables.
        home: The user's home folder.
        for_address: A cluster that is to be reached; None: one of our own, for which Ray makes a token.

    Returns:
        A failure where Ray would refuse to start, a warning where others could use the cluster.
    """
    mode = environment.get("RAY_AUTH_MODE", "token").lower()
    if mode == "disabled":
        return Finding(
            _NAME,
            Status.WARNING,
            "RAY_AUTH_MODE=disabled: whoever reaches a cluster that is started here runs code on it",
            "unset it, unless you connect to a cluster that runs without a token",
        )
    if mode != "token":
        return Finding(
            _NAME, Status.WARNING, f"RAY_AUTH_MODE={mode}", "set it to token, or unset it, unless you mean it"
        )
    if "RAY_AUTH_TOKEN" in environment:
        if not environment["RAY_AUTH_TOKEN"].strip():
            return Finding(_NAME, Status.FAILED, "RAY_AUTH_TOKEN is set and empty", "unset it, or fill it")
        return Finding(_NAME, Status.OK, "in RAY_AUTH_TOKEN")
    given = environment.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else home / ".ray" / "auth_token"
    return _in_file(path, is_given=bool(given), for_address=for_address)


def _in_file(path: Path, *, is_given: bool, for_address: str | None) -> Finding:
    try:
        is_empty = not path.read_text(errors="replace").strip()
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        if is_given:
            advice = f"write the cluster's token there; {_MAKE_ONE}"
            return Finding(
                _NAME, Status.FAILED, f"RAY_AUTH_TOKEN_PATH names {path}, which is not there", advice
            )
        if for_address is None:
            return Finding(_NAME, Status.OK, f"none yet; Ray makes one in {path} with its first cluster here")
        return Finding(
            _NAME,
            Status.WARNING,
            f"none here, to reach {for_address} with",
            "put the cluster's into RAY_AUTH_TOKEN, or RAY_AUTH_MODE=disabled where it runs without",
        )
    except OSError as err:
        return Finding(
            _NAME, Status.FAILED, f"{path} can't be read: {err.strerror}", "see to its owner and mode"
        )
    if is_empty:
        return Finding(_NAME, Status.FAILED, f"{path} is empty", f"remove it: {_MAKE_ONE}")
    if mode & 0o044 and all(folder.stat().st_mode & 0o011 for folder in path.absolute().parents):
        advice = f"chmod 600 {path}: who has the token runs code on the cluster"
        return Finding(_NAME, Status.WARNING, f"in {path}, which others may read (mode {mode:o})", advice)
    return Finding(_NAME, Status.OK, f"in {path}")
