"""The short way to whoever plans on the same machine: a Unix socket that only its own user can open.

Ray's call takes about as much CPU as the plan, a frame on a socket next to nothing. Nothing rests on it:
where there is no socket, because the planner runs on another node, as another user or on a system without
them, callers go through Ray. Frames are a length and then bytes: the question is JSON, the answer its kind, a
line feed and its body.

The folder of the sockets is ``/tmp/foretune-UID`` whatever TMPDIR says, since caller and planner must agree;
it is private to the user, and used only if it is. A socket's name is a digest of the Ray node and the actor,
so that callers find it without asking, and nobody finds that of another node or cluster.
"""

import json
import logging
import os
import selectors
import socket
import stat
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.contracts import digest
from surrogates.serving.questions import encode_question

Reply = tuple[str, bytes]
"""Kind and body, as ``questions.decode`` takes them."""
_LENGTH = struct.Struct("!Q")
_MOST_BYTES = 2**28
"""Of a frame; nobody sends a longer one on purpose."""
_CHUNK_BYTES = 2**18
_SEND_TIMEOUT_S = 5.0
"""Longest wait for a caller who does not take its answer; others wait meanwhile."""

logger = logging.getLogger(__name__)


def socket_path(key: str) -> Path:
    """Return where whoever has a key listens, if it does.

    Args:
        key: Of the node and the actor; alike for nobody else on this machine.

    Returns:
        The path of its socket.
    """
    return Path("/tmp") / f"foretune-{os.getuid()}" / f"{digest(key)}.sock"


class NearServer:
    """Answers whoever connects, one question after the other in one thread, until this process ends.

    Args:
        path: Of the socket; one that stands there is replaced.
        answer: Called with a question and the version it must at least have, never at once with itself. What
            it raises ends the connection: the caller comes again through Ray, which tells what happened.
    """

    def __init__(self, path: Path, answer: Callable[[Mapping[str, Any], int], Reply]) -> None:
        self._answer = answer
        self._listening = _listen(path)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        threading.Thread(target=self._serve, name="near", daemon=True).start()

    @classmethod
    def start(cls, path: Path, answer: Callable[[Mapping[str, Any], int], Reply]) -> "NearServer | None":
        """Serve at a path; None, and a line in the log, where the system or the folder does not allow it."""
        if not hasattr(socket, "AF_UNIX"):
            return None
        try:
            return cls(path, answer)
        except OSError as err:
            logger.warning("callers of this node go through Ray socket=%s reason=%s", path, err)
            return None

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    self._welcome()
                else:
                    self._hear(key.data)

    def _welcome(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError as err:  # out of file descriptors, or the caller has left already
            logger.warning("caller not taken reason=%s", err)
            return
        connection.settimeout(_SEND_TIMEOUT_S)
        self._selector.register(connection, selectors.EVENT_READ, _Frames(connection))

    def _hear(self, frames: "_Frames") -> None:
        """Take what has arrived; answer if that completes a question."""
        try:
            for question in frames.arrived():
                asked, at_least = json.loads(question)
                kind, body = self._answer(asked, at_least)
                frames.send(kind.encode() + b"\n" + body)
        except Exception as err:  # whatever it is, other callers must not suffer it
            if not isinstance(err, ConnectionError):
                logger.exception("caller dropped")
            self._selector.unregister(frames.connection)
            frames.connection.close()


class NearCaller:
    """Asks whoever listens at a path; any thread may, each over a connection of its own.

    Args:
        path: Of the socket, whether or not somebody listens there now.
        timeout_s: Longest wait for an answer.
    """

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        self._path, self._timeout_s = path, timeout_s
        self._idle: deque[_Frames] = deque()

    def ask(self, asked: Mapping[str, Any], at_least: int) -> Reply | None:
        """Put a question.

        Args:
            asked: As ``questions.question`` puts it together.
            at_least: A version that the caller has had an answer from.

        Returns:
            The answer; None where nobody listens, or the question does not travel as JSON.

        Raises:
            ConnectionError: Somebody did listen, and is gone.
            TimeoutError: No answer came in time.
        """
        try:
            frame = encode_question(asked, at_least)
        except (TypeError, ValueError):
            return None
        broken: ConnectionError | None = None
        for frames in self._connections():
            try:
                frames.send(frame)
                kind, _, body = frames.one().partition(b"\n")
            except ConnectionError as err:
                frames.connection.close()
                broken = err
            except BaseException:  # the answer may still come: nobody else must get it
                frames.connection.close()
                raise
            else:
                self._idle.append(frames)
                return kind.decode(), body
        if broken is not None:
            raise broken
        return None

    def _connections(self) -> Iterator["_Frames"]:
        """Yield those that nobody uses, which may have broken meanwhile, and then a fresh one."""
        with suppress(IndexError):
            while True:
                yield self._idle.pop()
        if hasattr(socket, "AF_UNIX"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                _check_private(self._path.parent)
                connection.settimeout(self._timeout_s)
                connection.connect(str(self._path))
            except OSError:
                connection.close()
            else:
                yield _Frames(connection)


class _Frames:
    """What comes and goes on a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = bytearray()

    def send(self, frame: bytes) -> None:
        self.connection.sendall(_LENGTH.pack(len(frame)) + frame)

    def arrived(self) -> list[bytes]:
        """Return the frames that are complete after one more read; ``ConnectionError`` at the end."""
        chunk = self.connection.recv(_CHUNK_BYTES)
        if not chunk:
            raise ConnectionResetError("the other side has closed the connection")
        self._buffer += chunk
        frames = []
        while (frame := self._taken()) is not None:
            frames.append(frame)
        return frames

    def one(self) -> bytes:
        """Wait for one frame."""
        while not (frames := self.arrived()):
            pass
        return frames[0]

    def _taken(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > _MOST_BYTES:
            raise ConnectionAbortedError(f"a frame of {length} bytes is not one of ours")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        frame = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return frame


def _listen(path: Path) -> socket.socket:
    """Listen at a path, which stands there only once somebody listens: a deaf one may be removed."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _check_private(path.parent)
    _clear(path.parent)
    before = path.with_suffix(f".{os.getpid()}")
    before.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(before))
        before.chmod(0o600)
        listening.listen(128)
        before.rename(path)
    except OSError:
        listening.close()
        raise
    return listening


def _check_private(folder: Path) -> None:
    """Refuse a folder that somebody else owns or can use."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a folder of this user alone; set its mode to 700")


def _clear(folder: Path) -> None:
    """Remove the sockets of processes that are gone."""
    for path in folder.glob("*.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            try:
                knocking.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                continue
