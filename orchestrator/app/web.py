"""A surrogate's HTTP server: its address, and the token that callers must have."""

import ipaddress
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import make_folder_durably
from orchestrator.metadataset.layout import RootLayout
from surrogates.serving.client import SurrogateClient

DEFAULT_PORT = 8742
_FEWEST_LETTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAddress:
    """Where to answer by HTTP."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0 takes a free one."""
    token_file: Path | None = None
    """Holds the token; None: one is made, and kept beside the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """A server that runs."""

    url: str
    token_file: Path
    new_token: str | None
    """The token, if it was made just now: it is told once."""

    def render(self) -> str:
        """Say how to ask."""
        token = f"token (told this once): {self.new_token}" if self.new_token else "token: as told before"
        return (
            f"HTTP: {self.url}, described at {self.url}/openapi.json; {token}; it stands in {self.token_file}"
        )


@contextmanager
def web_serving(
    root: Path, client: SurrogateClient, address: WebAddress | None
) -> Iterator[WebServer | None]:
    """Answer by HTTP until the scope is left.

    Args:
        root: What the actor serves.
        client: The actor's client.
        address: Where; None: nowhere.

    Yields:
        The server; None where there is none.

    Raises:
        InputError: The extra ``http`` is missing, the address can't be listened at, or the token file can't
            be used.
    """
    if address is None:
        yield None
        return
    try:
        from surrogates.serving.http import build_app
        from surrogates.serving.http_server import running
    except ImportError as err:
        raise InputError(
            f"--http needs packages that are not installed ({err.name}): pip install 'foretune[http]'"
        ) from err
    if not _is_loopback(address.host) and address.token_file is None:
        raise InputError(
            f"--host {address.host} can be reached from other machines, and plans tell of past tasks and "
            "results: give a token that you chose with --token-file FILE, and put TLS in front, or leave "
            "--host out"
        )
    path = address.token_file or RootLayout(root.absolute()).token_file
    token, is_new = (read_token(path), False) if address.token_file else _own_token(path)
    with running(build_app(client, token), host=address.host, port=address.port) as url:
        yield WebServer(url=url, token_file=path, new_token=token if is_new else None)


def read_token(path: Path) -> str:
    """Read a token that only its owner can read.

    Args:
        path: The file.

    Returns:
        The token.

    Raises:
        InputError: It can't be read, is open to others, or is too short to be a secret.
    """
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"the token file {path} can't be read: {err}") from err
    if mode & 0o077:
        raise InputError(f"the token file {path} can be read by others; run `chmod 600 {path}`")
    if len(token) < _FEWEST_LETTERS or not token.isprintable() or " " in token:
        raise InputError(
            f"the token in {path} must have at least {_FEWEST_LETTERS} letters and no spaces; make one with "
            "`openssl rand -hex 32`"
        )
    return token


def _own_token(path: Path) -> tuple[str, bool]:
    """Return the root's token, and whether it was made just now."""
    make_folder_durably(path.parent)
    token = secrets.token_urlsafe(32)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(path), False
    with os.fdopen(handle, "w") as file:
        file.write(token + "\n")
    return token, True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
