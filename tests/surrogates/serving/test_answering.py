from pathlib import Path

import pytest

from orchestrator.metadataset.layout import RootLayout
from surrogates.serving.answering import ELSEWHERE, Answering
from surrogates.serving.questions import PLAN, decode, question, version_of
from surrogates.serving.refit import refit
from tests.surrogates.roots import write_root

ASKED = question({"rows": 11.0, "loss": 2.8}, 30.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    write_root(folder, tasks=3, configs=5)
    return folder


def test_where_no_state_stands_the_question_is_for_somebody_else(tmp_path: Path) -> None:
    answering = Answering(RootLayout(tmp_path).surrogate_dir)
    assert answering.take_newest() == 0
    assert answering.recommend(ASKED) == (ELSEWHERE, b"")


def test_caller_who_has_seen_a_newer_state_gets_no_older_answer(root: Path) -> None:
    settled: list[int] = []
    first = refit(root, None).version
    answering = Answering(RootLayout(root).surrogate_dir, settled=lambda: settled.append(answering.version))
    assert answering.take_newest() == first
    second = refit(root, None).version
    assert second is not None
    assert decode(*answering.recommend(ASKED)).version == first
    kind, body = answering.recommend(ASKED, at_least=second)
    assert (kind, version_of(body), decode(kind, body).version) == (PLAN, second, second)
    assert settled == [first, second]


def test_version_that_never_was_changes_nothing(root: Path) -> None:
    answering = Answering(RootLayout(root).surrogate_dir)
    newest = answering.take_newest()
    assert version_of(answering.recommend(ASKED, at_least=newest + 10)[1]) == newest
