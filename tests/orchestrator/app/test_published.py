"""Another base model than was learned on: named as such, and given nothing but published defaults."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.app.published import SOURCES, is_other_base, published_defaults
from orchestrator.contracts import InputError
from tests.support.tiny import make_base, make_task
from workers.models.location import locate
from workers.space import SearchSpace

PHI3 = "microsoft/Phi-3-mini-4k-instruct"


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> str:
        raise InputError("the hub is not reached")

    monkeypatch.setattr("workers.models.location._resolve_commit", unreachable)


def test_a_model_is_told_by_its_files_and_a_hubs_by_its_name_where_none_is_reached(tmp_path: Path) -> None:
    folder = make_base(tmp_path / "model")
    assert not is_other_base("tiny-phi3", "tiny-phi3")
    assert not is_other_base(locate("tiny-phi3").path_or_id, "tiny-phi3")
    assert is_other_base(str(folder), "tiny-phi3")
    assert is_other_base(PHI3, "tiny-phi3")
    assert not is_other_base(f"{PHI3}@abc", PHI3)


def test_a_model_that_is_not_there_is_refused_and_not_taken_for_another() -> None:
    with pytest.raises(InputError, match="no such folder"):
        is_other_base("./models/phi", "tiny-phi3")
    with pytest.raises(InputError, match="no such folder"):
        is_other_base("phi", "tiny-phi3")


def test_defaults_for_another_base_are_the_fields_and_say_that_nothing_was_learned(tmp_path: Path) -> None:
    told = published_defaults(make_task(), PHI3, learned_on="tiny-phi3", root=tmp_path)
    assert dict(told.config) == dict(SearchSpace.from_spec("phi3", {}).default())
    assert told.config["learning_rate"] == 2e-4  # and not what is best for the embedded model
    content = json.loads(json.dumps(told.as_dict()))
    assert content["is_learned"] is False
    assert set(SOURCES) <= set(content["config"])
    console = Console(width=110, record=True)
    console.print(told.render())
    shown = " ".join(console.export_text().split())
    assert f"Nothing was learned on {PHI3}" in shown
    assert "no recommendation" in shown
    assert "twenty times too high" in shown


def test_defaults_in_pefts_words_need_the_models_config(tmp_path: Path) -> None:
    folder = make_base(tmp_path / "model")
    told = published_defaults(make_task(), str(folder), learned_on="tiny-phi3", root=tmp_path)
    assert told.as_peft()["training_arguments"]["learning_rate"] == 2e-4
    unreached = published_defaults(make_task(), PHI3, learned_on="tiny-phi3", root=tmp_path)
    with pytest.raises(InputError, match="hub"):
        unreached.as_peft()
