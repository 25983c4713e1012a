"""A local server that speaks S3, and a way to it that can be cut.

The server is moto's. It lives in a virtual environment of its own, because botocore wants an older
python-dateutil than the one that is pinned for everything else.
"""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

MOTO = Path(sys.prefix) / "moto" / "bin" / "moto_server"
HOW_TO_INSTALL = f"no {MOTO}: `make test` puts it there"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """Run a server on a free loopback port; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stdout=quiet, stderr=quiet)
    try:
        _wait_until_open(server, port)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def _wait_until_open(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if server.poll() is not None:
            raise RuntimeError(f"moto_server ended with {server.returncode}")
        time.sleep(0.1)
    raise RuntimeError("moto_server did not open its port within a minute")


class Way:
    """Forwards a loopback port to another, until it is cut.

    Cut, it refuses whoever comes and drops whoever is there; blocked, it takes all in and says nothing.
    """

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._ends: set[socket.socket] = set()
        self._open = threading.Event()
        self._open.set()
        self._is_cut = False
        self._is_closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._is_cut = True
        self._drop()

    def block(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._is_cut = False
        self._open.set()

    def close(self) -> None:
        self._is_closed = True
        self._open.set()
        # Closing alone would not wake the thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._to_port))
            self._ends |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                self._open.wait()
                sink.sendall(content)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            if source is end:
                self._ends.discard(end)
                end.close()
