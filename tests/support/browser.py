"""A headless Chromium, told what to do over its DevTools pipe: what it loads, prints, and looks like."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NO_BROWSER = "no Chrome or Chromium is installed; on Debian: apt-get install chromium"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    # Pages of files need no proxy; whatever else is asked for fails.
    "--proxy-server=127.0.0.1:9",
    "--remote-debugging-pipe",
)
_AT_3_AND_4 = """
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The browser reads its commands at 3 and answers at 4, whatever they are here."""


def find_browser() -> str | None:
    """Return a Chrome or Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


class Browser:
    """One page. Collects what it asks the network for and what goes wrong in it."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._count, self._rest = 0, b""
        self.requests: list[str] = []
        self.errors: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> Any:
        """Send a command to the page and return its result."""
        return self._call(method, session=self._session, **parameters)

    def open(
        self,
        path: Path,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        phone: bool = False,
        until: str = "document.documentElement?.dataset.ready === 'yes'",
    ) -> None:
        """Show a file, and wait until all its pictures are drawn, or until something else holds."""
        self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self.do("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.do("Page.navigate", url=path.absolute().as_uri())
        self.wait(until)

    def wait(self, condition: str, *, timeout_s: float = 60.0) -> None:
        """Wait until something holds in the page."""
        end = time.monotonic() + timeout_s
        while not self.value(condition):
            assert time.monotonic() < end, f"{condition} did not hold within {timeout_s:g} s: {self.errors}"
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """Return what an expression comes to in the page."""
        result = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def picture(self, *, whole: bool = True) -> bytes:
        """Return the page as PNG."""
        taken = self.do(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole)
        )
        return base64.b64decode(taken["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(
            self.do("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
        )

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.do("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _call(self, method: str, *, session: str | None = None, **parameters: Any) -> Any:
        self._count += 1
        number = self._count
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._in.fileno(), 1 << 20)
            assert read, "the browser is gone"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        content: dict[str, Any] = json.loads(message)
        return content

    def _note(self, event: dict[str, Any]) -> None:
        content = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(content["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(content["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if content["type"] in ("error", "warning", "assert"):
                self.errors.append(
                    str([item.get("value", item.get("description")) for item in content["args"]])
                )
            # What the software renderer says of its own speed is no one's error.
            case "Log.entryAdded" if content["entry"]["source"] != "rendering":
                if content["entry"]["level"] in ("error", "warning"):
                    self.errors.append(f"{content['entry']['text']} {content['entry'].get('url', '')}")


@contextmanager
def browser() -> Iterator[Browser]:
    """Hold a browser; leaving ends it."""
    path = find_browser()
    assert path is not None, NO_BROWSER
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    with TemporaryDirectory(prefix="foretune-browser-", ignore_cleanup_errors=True) as profile:
        start = [sys.executable, "-c", _AT_3_AND_4, str(commands), str(answers)]
        process = subprocess.Popen(
            [*start, path, *_FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
