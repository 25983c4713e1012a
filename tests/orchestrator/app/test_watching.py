"""Looking on: what changed is shown once, the last words of a driver are not missed."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.app.roots import claim
from orchestrator.app.spec import parse_spec
from orchestrator.app.watching import follow, last_lines, log_file, sights, watch, worker_ids
from orchestrator.contracts import InputError, Trial, WorkerId
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.lock import RootLock
from tests.orchestrator.metadataset.records import Sweep, a_trial

TRIALS = [a_trial(0), a_trial(1)]
EPOCHS = TRIALS[0].max_epochs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    content = {
        "name": "s",
        "base_model": "rehearsal",
        "tasks": ["worlds:towns"],
        "configs": 2,
        "epochs": EPOCHS,
    }
    claim(tmp_path / "root", parse_spec(content, where="s.yaml", folder=tmp_path), TRIALS, "{}")
    return tmp_path / "root"


class Script:
    """Stands for time: each pause lets the next thing happen, and there is an end to it."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)

    def __call__(self, seconds: float) -> None:
        assert self.steps, "looked on for longer than anything happens"
        self.steps.pop(0)()


def nothing() -> None:
    pass


def run(root: Path, *trials: Trial) -> Callable[[], None]:
    return lambda: Sweep(root, trials).run(lambda _point: None)


def test_sights_show_each_change_once_and_end_when_the_sweep_is_done(root: Path) -> None:
    script = Script(nothing, nothing, run(root, TRIALS[0]), nothing, run(root, *TRIALS))
    seen = list(sights(root, every_s=1.0, pause=script))
    assert [(status.finished, status.points) for status in seen] == [
        (0, 0),
        (1, EPOCHS),
        (2, 2 * EPOCHS),
    ]
    assert [status.is_done for status in seen] == [False, False, True]
    assert not script.steps


def test_watch_prints_one_plain_line_a_change_where_there_is_no_terminal(root: Path) -> None:
    out = io.StringIO()
    script = Script(nothing, run(root, TRIALS[0]), nothing, run(root, *TRIALS))
    watch(root, console=Console(file=out, width=200), pause=script)
    assert out.getvalue().splitlines() == [
        "0/2 trials (none yet), 0 points, no driver is at work",
        f"1/2 trials (1 completed), {EPOCHS} points, no driver is at work",
        f"2/2 trials (2 completed), {2 * EPOCHS} points, done",
    ]


def test_watch_draws_a_picture_on_a_terminal(root: Path) -> None:
    out = io.StringIO()
    run(root, *TRIALS)()
    watch(root, console=Console(file=out, force_terminal=True, width=120), pause=Script())
    assert "2 of 2 finished" in out.getvalue()


def test_driver_at_work_is_seen(root: Path) -> None:
    lock = RootLock(RootLayout(root).lock_file, root)
    seen = sights(root, every_s=1.0, pause=Script(lock.release, run(root, *TRIALS)))
    at_work, gone = next(seen).driver, next(seen).driver
    assert at_work is not None
    assert at_work.startswith("process ")
    assert gone is None


def test_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sweep"):
        next(sights(tmp_path, every_s=1.0))
    with pytest.raises(InputError, match="holds no sweep"):
        log_file(tmp_path)


def write_log(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)
    return path


def test_log_that_is_not_there_is_refused_with_those_that_are(root: Path) -> None:
    with pytest.raises(InputError, match="no driver has been at work"):
        log_file(root)
    with pytest.raises(InputError, match="there is none of any worker yet"):
        log_file(root, "w1")
    layout = RootLayout(root)
    for worker in ("node-1", "node-2"):
        write_log(layout.worker_log(WorkerId(worker)), "hello\n")
    assert sorted(worker_ids(root)) == ["node-1", "node-2"]
    with pytest.raises(InputError, match=r"no log of worker '\.\./node-1'; there are node-\d, node-\d"):
        log_file(root, "../node-1")
    assert log_file(root, "node-2") == layout.worker_log(WorkerId("node-2"))


def test_last_lines_are_the_last_and_no_more(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", "".join(f"{n}\n" for n in range(10)))
    assert last_lines(path, 3) == ["7", "8", "9"]
    assert last_lines(path, 99) == [str(n) for n in range(10)]


def test_followed_log_is_read_to_the_last_word_of_the_driver(root: Path) -> None:
    path = write_log(RootLayout(root).driver_log, "zero\none\n")
    lock = RootLock(RootLayout(root).lock_file, root)

    def last_words() -> None:
        write_log(path, "three\n")
        lock.release()

    script = Script(nothing, lambda: write_log(path, "two\n"), nothing, last_words)
    assert "".join(follow(root, path, lines=1, pause=script)) == "one\ntwo\nthree\n"


def test_log_of_a_sweep_without_a_driver_is_shown_and_not_waited_for(root: Path) -> None:
    path = write_log(RootLayout(root).driver_log, "zero\none\n")
    assert "".join(follow(root, path, lines=5, pause=Script())) == "zero\none\n"
