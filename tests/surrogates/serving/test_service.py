"""The service without Ray: it answers, follows its root, and goes on from what it saved."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from orchestrator.contracts import CorruptLedgerError, InputError, NothingLearnedError
from orchestrator.metadataset.layout import RootLayout
from orchestrator.metadataset.verify import verify
from surrogates.data.store import read_meta, write_tables
from surrogates.recommender import Recommender
from surrogates.serving import saved
from surrogates.serving.answering import ELSEWHERE
from surrogates.serving.comparison import Verdict
from surrogates.serving.questions import Answer, decode, question
from surrogates.serving.refit import RefitFailedError, Refitted, refit, refit_aside
from surrogates.serving.service import Following, SurrogateService, raise_error
from tests.surrogates.roots import SPACE_JSON, write_root
from tests.surrogates.synthetic import World, make

FEATURES = {"rows": 11.0, "loss": 2.8}
EAGER = Following(apart_s=0.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_root(tmp_path, tasks=3, configs=5)
    return tmp_path


def service_of(root: Path, **options: Any) -> SurrogateService:
    return SurrogateService(str(root), refit=options.pop("refit", refit), **options)


def answer_of(service: SurrogateService, **asked: Any) -> Answer:
    return decode(*service.recommend(question(FEATURES, 30.0, **asked)))


def never(root: Path, before: int | None) -> Refitted:
    raise AssertionError("it learned, and had no need to")


def test_answer_says_which_state_gave_it(root: Path) -> None:
    service = service_of(root)
    answer = answer_of(service)
    assert (answer.version, answer.learned_at) == (1, service.info()["learned_at"])
    assert answer.plan.learned_from.tasks == 3


def test_restarted_service_answers_the_same_at_once_and_learns_nothing(root: Path) -> None:
    before = answer_of(service_of(root))
    restarted = service_of(root, refit=never, following=EAGER)
    assert answer_of(restarted) == before
    assert not restarted.follow()


def test_restarted_service_learns_when_its_root_has_grown_meanwhile(root: Path) -> None:
    service_of(root)
    write_root(root, tasks=1, configs=5, first_task=7)
    restarted = service_of(root, following=EAGER)
    assert answer_of(restarted).plan.learned_from.tasks == 3
    assert restarted.follow()
    answer = answer_of(restarted)
    assert (answer.version, answer.plan.learned_from.tasks) == (2, 4)


def test_growth_that_is_not_worth_it_or_comes_too_soon_is_let_pass(root: Path) -> None:
    service = service_of(root, following=Following(growth=0.5, apart_s=0.0))
    soon = service_of(root, following=Following(growth=0.0, apart_s=1000.0))
    soon.refresh()
    write_root(root, tasks=1, configs=5, first_task=7)
    assert not service.follow()
    assert not soon.follow()
    assert answer_of(service).version == answer_of(soon).version == 1


def test_worse_state_is_not_taken_and_is_not_tried_again_until_there_is_more(root: Path) -> None:
    service_of(root)
    tried = []

    def worse(root: Path, before: int | None) -> Refitted:
        tried.append(before)
        verdict = Verdict(accepted=False, reason="it is worse")
        return Refitted(verdict=verdict, version=None, rows=24, fit_s=0.1)

    service = service_of(root, refit=worse, following=EAGER)
    before = answer_of(service)
    write_root(root, tasks=1, configs=5, first_task=7)
    assert service.follow()
    assert not service.follow()
    assert tried == [1]
    assert answer_of(service) == before
    assert service.info()["last_refit"]["verdict"]["reason"] == "it is worse"


def test_refit_that_dies_keeps_the_old_answers_and_says_so(root: Path) -> None:
    def dying(root: Path, before: int | None) -> Refitted:
        raise RefitFailedError(str(root), "its process ended with -9")

    service_of(root)
    service = service_of(root, refit=dying, following=EAGER)
    before = answer_of(service)
    write_root(root, tasks=1, configs=5, first_task=7)
    assert "ended with -9" in service.refresh()["error"]["fields"][0]
    assert answer_of(service) == before


@pytest.mark.parametrize("reason", ["damaged", "another release"])
def test_state_that_can_not_be_used_is_learned_anew_and_told(
    root: Path, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answer_of(service_of(root))
    if reason == "damaged":
        (RootLayout(root).surrogate_dir / "state-000001" / "state.json").write_text("{}")
    else:
        monkeypatch.setattr(saved, "made_by_this_code", lambda: "other")
    service = service_of(root)
    assert reason in service.info()["refused_states"][0]
    assert answer_of(service).plan == before.plan
    assert answer_of(service).version == 2


def test_refitting_aside_in_a_process_of_its_own_comes_to_the_same(root: Path) -> None:
    here = answer_of(service_of(root)).plan
    found = refit_aside(root, None)
    assert (found.version, found.rows, found.verdict.accepted) == (2, 18, True)
    service = service_of(root, refit=never)
    assert answer_of(service).version == 2
    assert answer_of(service).plan == here


def test_service_without_anything_learned_says_so_then_learns(tmp_path: Path) -> None:
    RootLayout(tmp_path).space_json.write_text(SPACE_JSON)
    service = service_of(tmp_path, following=EAGER)
    with pytest.raises(NothingLearnedError, match="has finished yet"):
        raise_error(service.info()["error"])
    with pytest.raises(NothingLearnedError, match="has finished yet"):
        answer_of(service)
    write_root(tmp_path, tasks=2, configs=4)
    assert service.follow()
    assert answer_of(service).version == 1


def test_failed_refresh_keeps_the_old_answers(root: Path) -> None:
    service = service_of(root)
    before = answer_of(service)
    write_root(root, tasks=1, configs=5, first_task=7)
    RootLayout(root).space_json.unlink()
    assert "space.json is missing" in service.refresh()["error"]["fields"][0]
    assert answer_of(service) == before


def test_damaged_root_keeps_the_old_answers(root: Path) -> None:
    service = service_of(root, following=EAGER)
    before = answer_of(service)
    for part in (root / "trials").glob("part-*"):
        part.write_bytes(b"PAR1 no more")
    assert not service.follow()
    with pytest.raises(CorruptLedgerError):
        raise_error(service.info()["error"])
    assert answer_of(service) == before


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"features": FEATURES, "budget": 30.0}, "unknown or missing: budget, budget_s"),
        ({"features": FEATURES, "budget_s": "30"}, "budget_s must be a number"),
        ({"features": [1.0], "budget_s": 30.0}, "features must be numbers by name"),
        ({"features": {"rows": "many"}, "budget_s": 30.0}, "features must be numbers by name"),
        ({"features": {}, "budget_s": 30.0, "k": 1.5}, "k must be a whole number"),
        ({"features": {}, "budget_s": 30.0, "candidates": [{"a": []}]}, "candidates must be a list"),
        ({"features": {}, "budget_s": 30.0, "excluded": {"a": 1}}, "excluded must be lists"),
        ({"features": {}, "budget_s": -1.0}, "must be above 0 s, got -1"),
    ],
)
def test_question_that_is_none_is_refused_by_name(
    shared: SurrogateService, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        decode(*shared.recommend(asked))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SurrogateService:
    root = tmp_path_factory.mktemp("root")
    write_root(root, tasks=3, configs=5)
    return service_of(root)


def test_answers_are_the_recommenders_own(shared: SurrogateService) -> None:
    recommender = Recommender.fit(read_meta(shared.info()["root"]))
    for budget_s in (3.0, 30.0, 300.0):
        asked = question({"rows": 10.0, "unheard": float("nan")}, budget_s, k=2)
        assert decode(*shared.recommend(asked)).plan == recommender.plan(asked["features"], budget_s, k=2)


def test_same_question_in_another_order_is_answered_from_memory(
    shared: SurrogateService, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shared.recommend({"features": {"rows": 1.0, "loss": 2.0}, "budget_s": 31.0})

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("it planned again")

    monkeypatch.setattr(Recommender, "plan", refuse)
    assert shared.recommend({"budget_s": 31.0, "k": None, "features": {"loss": 2.0, "rows": 1.0}}) == first
    with pytest.raises(AssertionError, match="planned again"):
        shared.recommend({"budget_s": 32.0, "features": {"loss": 2.0, "rows": 1.0}})


def test_question_about_a_past_task_is_put_elsewhere_and_leaves_it_out(shared: SurrogateService) -> None:
    asked = question(FEATURES, 30.0, task_id="task-1")
    assert shared.recommend(asked) == (ELSEWHERE, b"")
    plan = decode(*shared.recommend_leaving_out(asked)).plan
    assert plan.learned_from.tasks == 2
    assert shared.recommend(asked)[0] != ELSEWHERE


def test_candidates_are_configs_that_can_be_asked_about(shared: SurrogateService) -> None:
    pool = shared.candidates()
    some = pool[3:6]
    plan = answer_of(shared, candidates=some).plan
    assert all(choice.config in some for choice in plan.choices)


def test_answer_is_plain_json_without_nan(shared: SurrogateService) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    _, body = shared.recommend(question({}, 30.0))
    assert json.loads(body, parse_constant=refuse)["plan"]["choices"]


def test_what_is_saved_disturbs_neither_readers_nor_verify(root: Path) -> None:
    before = pd.read_parquet(root / "curves")
    service_of(root)
    pd.testing.assert_frame_equal(pd.read_parquet(root / "curves"), before)
    assert verify(root).ok


def test_folder_of_tables_is_served_and_followed(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    write_tables(make(World(tasks=3, configs=8, epochs=2)), tables)
    service = service_of(tables, following=EAGER)
    answer = decode(*service.recommend(question({"hint": 3.0}, 50.0)))
    assert answer.plan.learned_from.tasks == 3
    larger = tmp_path / "larger"
    write_tables(make(World(tasks=5, configs=8, epochs=2)), larger)
    for path in larger.iterdir():
        path.replace(tables / path.name)
    assert service.follow()
    assert decode(*service.recommend(question({"hint": 3.0}, 50.0))).plan.learned_from.tasks == 5
