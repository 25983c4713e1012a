"""The driver's log: a file under the root, so that it outlives the node and the terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.metadataset.layout import RootLayout

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_PACKAGES = ("orchestrator", "workers", "surrogates", "cluster")


@contextmanager
def driver_log(layout: RootLayout) -> Iterator[None]:
    """Write what the project's packages log to the root's ``driver.log``, besides where it goes already.

    A log that can't be written is no reason to stop: that is said once, and the sweep goes on.
    """
    try:
        layout.logs_dir.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(layout.driver_log, encoding="utf-8")
    except OSError as err:
        logging.getLogger(__name__).warning("driver log not opened path=%s reason=%s", layout.driver_log, err)
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
