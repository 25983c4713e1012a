"""The driver's log: a file under the root, so that it outlives the node and the terminal."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.metadataset.layout import RootLayout

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PACKAGES = ("orchestrator", "workers", "surrogates", "cluster")

_logger = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """A log file on a disk that may fill up: that is said once, and ends nothing.

    Args:
        path: The file.

    Raises:
        OSError: It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._has_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's name)
        """Take note that a record could not be written; it waits in memory for the next that can."""
        err = sys.exc_info()[1]
        if isinstance(err, OSError):
            self._tell(err)
        else:
            super().handleError(record)

    def close(self) -> None:
        """Close the file, without what the disk does not take."""
        try:
            super().close()
        except OSError as err:
            self._tell(err)

    def _tell(self, err: OSError) -> None:
        if not self._has_told:
            self._has_told = True
            _logger.warning("driver log not written path=%s reason=%s", self.baseFilename, err)


@contextmanager
def driver_log(layout: RootLayout) -> Iterator[None]:
    """Write what the project's packages log to the root's ``driver.log``, besides where it goes already.

    A log that can't be written is no reason to stop: that is said once, and the sweep goes on.
    """
    try:
        layout.logs_dir.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(layout.driver_log)
    except OSError as err:
        _logger.warning("driver log not opened path=%s reason=%s", layout.driver_log, err)
        yield
        return
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.setLevel(logging.INFO)
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    levels = [each.level for each in loggers]
    root_handlers = logging.getLogger().handlers
    for each in loggers:
        # What was quiet on the screen stays so: the root's handlers keep the level they were given.
        each.setLevel(logging.INFO)
        each.addHandler(handler)
    before = [(each, each.level) for each in root_handlers]
    quietest = logging.getLogger().getEffectiveLevel()
    for each_handler, level in before:
        each_handler.setLevel(max(level, quietest))
    try:
        yield
    finally:
        for each_handler, level in before:
            each_handler.setLevel(level)
        for each, level in zip(loggers, levels, strict=True):
            each.removeHandler(handler)
            each.setLevel(level)
        handler.close()
