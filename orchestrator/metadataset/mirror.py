"""The mirror: a running sweep's Parquet in object storage, a few seconds behind, without the driver waiting.

Owned by one driver, after it opened the ledger; a thread of its own does all that touches the network. One
sync is under way at most. A store that fails is tried again, less and less often, and the sweep goes on; what
it lacks then is in the root, and whoever opens the mirror next brings it up. A reader of the mirror sees what
a reader of the root saw some seconds ago. One that opens a part of an object store just while it is replaced
may be refused by Parquet, as its footer is no longer where it was; it reads again.
"""

import hashlib
import logging
import threading
import time
from dataclasses import replace

import pyarrow as pa

from orchestrator.contracts import CorruptLedgerError, InputError
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.mirror_source import LocalFile, Stamp, birth, list_files, snapshot
from orchestrator.metadataset.mirror_state import MirrorState
from orchestrator.metadataset.mirror_target import Content, Index, MirrorTarget, brief
from orchestrator.metadataset.schema import Table

__all__ = ["INTERVAL_S", "Mirror", "MirrorState"]

INTERVAL_S = 10.0
LOOK_INTERVAL_S = 1.0
"""The root's files are looked at, not read, at most this often."""
MAX_BACKOFF_S = 300.0
LAST_RETRY_S = 0.5
"""Pause between tries of the last sync."""

logger = logging.getLogger(__name__)

_Refused = (OSError, pa.ArrowException)


class Mirror:
    """A mirror at work; made by ``Mirror.open``.

    Args:
        target: Where it is written.
        layout: Of the root.
        index: What the target holds.
        interval_s: A sync begins at most this often.
    """

    def __init__(self, target: MirrorTarget, layout: RootLayout, index: Index, *, interval_s: float) -> None:
        self._target = target
        self._layout = layout
        self._interval_s = interval_s
        self._index = index
        self._index_is_stale = False
        self._held: dict[str, Stamp] = {}
        """The stamps of the files whose content the target is known to hold."""
        self._final: set[str] = set()
        """Sealed parts among them: never looked at again."""
        self._failures = 0
        self._lock = threading.Lock()
        self._behind: dict[str, float] = {}
        """Files the target lacks, and when that was seen."""
        self._state = MirrorState(0, 0.0, 0, None)
        self._wake = threading.Event()
        self._wake.set()
        self._closing = threading.Event()
        self._give_up_at_s = 0.0
        """When the last sync is given up; holds once the mirror is being closed."""
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    @classmethod
    def open(cls, uri: str, layout: RootLayout, *, interval_s: float = INTERVAL_S) -> "Mirror":
        """Begin to mirror a root whose ledger this process has opened, or go on with it.

        Args:
            uri: ``s3://BUCKET/PREFIX``, ``gs://BUCKET/PREFIX`` or ``file:///FOLDER``.
            layout: Of the root.
            interval_s: A sync begins at most this often.

        Returns:
            The mirror, at work in a thread of its own until it is closed.

        Raises:
            InputError: The URI can't be understood or not be written, or belongs to another sweep.
        """
        target = MirrorTarget(uri)
        try:
            index = _claim(target, layout)
        except _Refused as err:
            raise InputError(
                f"--mirror {target.name} can't be written: {brief(err)}; check its name, its options and the "
                "credentials in the environment, or go on without a mirror: leave --mirror out, or take "
                "`mirror` out of the spec and use `foretune resume ROOT --with SWEEP.yaml`"
            ) from err
        mirror = cls(target, layout, index, interval_s=interval_s)
        mirror._look()
        mirror._thread.start()
        return mirror

    def notice(self) -> None:
        """Take note that the root may have changed; returns at once."""
        self._wake.set()

    def state(self) -> MirrorState:
        """Return how far the mirror has come, as of its last look at the root; returns at once."""
        with self._lock:
            state, behind = self._state, dict(self._behind)
        since_s = min(behind.values(), default=None)
        error = state.last_error
        if not self._thread.is_alive() and not self._has_ended:
            error = "its thread has died, standard error says why"
        return replace(
            state,
            behind_files=len(behind),
            behind_s=0.0 if since_s is None else time.monotonic() - since_s,
            last_error=error,
            missing=tuple(behind),
        )

    def close(self, timeout_s: float) -> MirrorState:
        """Make a last sync, trying until the time is up, and end.

        Args:
            timeout_s: How long to try.

        Returns:
            The state in which the mirror was left; ``render`` says what is missing and what to do.
        """
        self._give_up_at_s = time.monotonic() + timeout_s
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._look()
            with self._lock:
                reason = self._state.last_error or f"not done within {timeout_s:g} s"
                self._state = replace(self._state, last_error=reason)
        state = self.state()
        log = logger.warning if state.behind_files else logger.info
        log("mirror closed target=%s state=%s", self._target.name, state.render())
        return state

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._closing.is_set():
            # Without a notice nothing has changed; with files behind, the next try is due all the same.
            self._wake.wait(max(0.0, due_s - time.monotonic()) if self._is_behind() else None)
            self._wake.clear()
            self._look()
            if self._is_behind() and time.monotonic() >= due_s and not self._closing.is_set():
                begun_s = time.monotonic()
                self._sync()
                due_s = begun_s + min(self._interval_s * 2 ** min(self._failures, 16), MAX_BACKOFF_S)
            self._closing.wait(min(LOOK_INTERVAL_S, self._interval_s))
        while not self._is_over() and not self._sync(is_last=True):
            time.sleep(LAST_RETRY_S)
        self._has_ended = True

    def _is_behind(self) -> bool:
        return bool(self._behind) or self._index_is_stale

    def _is_over(self) -> bool:
        return self._closing.is_set() and time.monotonic() >= self._give_up_at_s

    def _look(self) -> None:
        """Find the files that have changed."""
        try:
            self._note_behind(list_files(self._layout))
        except OSError as err:
            self._note_error(err)

    def _note_behind(self, files: list[LocalFile]) -> None:
        now_s = time.monotonic()
        lacking = [file.name for file in files if self._lacks(file.name, file.stamp)]
        with self._lock:
            self._behind = {name: self._behind.get(name, now_s) for name in lacking}

    def _lacks(self, name: str, stamp: Stamp) -> bool:
        return name not in self._final and self._held.get(name) != stamp

    def _sync(self, *, is_last: bool = False) -> bool:
        """Bring the target up to the root as it is now; False if that was cut short."""
        # Stamps may lie, if seldom: the last sync reads all that can have changed.
        wanted = (lambda name, stamp: name not in self._final) if is_last else self._lacks
        try:
            files = snapshot(self._layout, wanted)
            self._note_behind(files)
            self._sign()
            for file in files:
                if self._is_over():
                    raise TimeoutError("the time for the last sync was up")
                self._bring(file)
            if self._index_is_stale:
                self._target.put_index(self._index)
                self._index_is_stale = False
        except (*_Refused, CorruptLedgerError) as err:
            self._failures += 1
            self._note_error(err)
            self._look()
            return False
        self._failures = 0
        with self._lock:
            self._state = replace(self._state, last_error=None)
        # Not file by file: what was uploaded may have been written anew since it was read.
        self._look()
        return True

    def _sign(self) -> None:
        """Say whose the mirror is before its first row is there."""
        if self._index.birth is None and (known := birth(self._layout)) is not None:
            signed = replace(self._index, birth=known)
            self._target.put_index(signed)
            self._index = signed

    def _bring(self, file: LocalFile) -> None:
        """Upload a file unless the target holds this very content."""
        data = file.read()
        content = Content(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        uploaded_bytes = 0
        if self._index.files.get(file.name) != content:
            self._target.put(file.name, data)
            self._index = replace(self._index, files={**self._index.files, file.name: content})
            self._index_is_stale = True
            uploaded_bytes = len(data)
        self._held[file.name] = file.stamp
        if file.is_final:
            self._final.add(file.name)
        with self._lock:
            self._state = replace(self._state, uploaded_bytes=self._state.uploaded_bytes + uploaded_bytes)

    def _note_error(self, err: Exception) -> None:
        reason = brief(err)
        with self._lock:
            self._state = replace(self._state, last_error=reason)
        logger.warning(
            "mirror behind target=%s failures=%d reason=%s", self._target.name, self._failures, reason
        )


def _claim(target: MirrorTarget, layout: RootLayout) -> Index:
    """Return what of this root the target holds, after writing that down there; refuse what is another's."""
    index, ours = target.index(), birth(layout)
    if index is None:
        shown = [layout.sweep_yaml, layout.space_json, *map(layout.table_dir, Table)]
        found = target.holds_any([path.relative_to(layout.root).as_posix() for path in shown])
        if found is not None:
            raise InputError(
                f"--mirror {target.name} holds {found}, which no mirror put there; choose an empty prefix"
            )
        index = Index(birth=ours, files={})
    elif index.birth not in (None, ours):
        raise InputError(
            f"--mirror {target.name} is the mirror of another sweep; choose another prefix for this one"
        )
    # An index may lie about what was removed or replaced since: what has another size is brought again.
    sizes = target.sizes(list(index.files))
    held = {name: content for name, content in index.files.items() if sizes.get(name) == content.size_bytes}
    index = Index(birth=index.birth or ours, files=held)
    target.put_index(index)
    return index
