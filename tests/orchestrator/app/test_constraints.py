"""What a person demands beside a budget."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.app import serving
from orchestrator.app.constraints import Constraints, fitting, for_device, of_no_machine
from orchestrator.app.web import read_token
from orchestrator.cli.main import main
from orchestrator.cli.values import parse_excluded, parse_fixed, parse_size, parse_value
from orchestrator.contracts import Config, InputError, TrainingSettings
from surrogates.data.store import write_tables
from surrogates.plan import Plan
from surrogates.recommender import Recommender
from tests.surrogates.synthetic import World, make
from workers.models.base import load_base
from workers.tasks.loading import load_task


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Recommender.fit(make(World(tasks=2, configs=6, epochs=2))).plan({}, 100.0, k=3)


@given(st.floats(0.01, 100.0))
def test_faster_device_takes_so_much_less_of_so_much_less(plan: Plan, factor: float) -> None:
    told = for_device(plan, Constraints(device="H100", speed_factor=factor), ["cpu"])
    assert math.isclose(told.cost_s * factor, plan.cost_s)
    assert math.isclose(told.budget_s * factor, plan.budget_s)
    assert [choice.config for choice in told.choices] == [choice.config for choice in plan.choices]


def test_device_that_is_not_on_record_is_said(plan: Plan) -> None:
    recorded = ["NVIDIA A100-SXM4-80GB"]
    assert for_device(plan, Constraints(device="a100"), recorded) == plan
    assert for_device(plan, Constraints(), recorded) == plan
    (note,) = set(for_device(plan, Constraints(device="H100"), recorded).notes) - set(plan.notes)
    assert "measured on NVIDIA A100-SXM4-80GB; on H100 they differ" in note
    told = for_device(plan, Constraints(device="H100", speed_factor=2.0), recorded)
    assert "told for H100 2 times as fast" in told.notes[-1]


def test_machine_that_measured_a_task_counts_only_where_it_is_trained_there() -> None:
    measured = {"train_examples": 100.0, "probe_tokens_per_s": 9e3}
    assert of_no_machine(measured, Constraints()) == measured
    for elsewhere in (Constraints(device="H100"), Constraints(speed_factor=2.0)):
        assert of_no_machine(measured, elsewhere) == {"train_examples": 100.0}


@pytest.mark.parametrize(
    ("demands", "sentence"),
    [
        ({"speed_factor": 0.0}, "--speed-factor must be above 0, got 0"),
        ({"speed_factor": math.nan}, "--speed-factor must be above 0"),
        ({"gpu_memory_bytes": 0}, "--gpu-memory must be above 0"),
        ({"fixed": {"lr": 1.0}, "excluded": {"lr": [2.0]}}, "lr is both set and excluded"),
    ],
)
def test_demands_that_can_not_be_met_are_refused(demands: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Constraints(**demands)  # type: ignore[arg-type]


def test_what_does_not_fit_the_gpu_is_left_out() -> None:
    base, task = load_base("tiny-phi3"), load_task("worlds:machines")
    small, large = {"peft_method": "ia3"}, {"peft_method": "full"}
    unknown: Config = {"peft_method": "ia3", "no_such_name": 1}
    settings = TrainingSettings(horizon_epochs=3)
    needs = [
        size
        for size in range(2**30, 2**30 + 2**28, 2**22)
        if _fits(size, small, base, task, settings) and not _fits(size, large, base, task, settings)
    ]
    assert needs
    kept = fitting(
        [large, small, unknown], gpu_memory_bytes=needs[0], task=task, base=base, settings=settings
    )
    assert kept == [small]
    with pytest.raises(InputError, match=r"no config fits into 1 GiB of GPU memory"):
        fitting([small], gpu_memory_bytes=2**30, task=task, base=base, settings=settings)


def _fits(size: int, config: dict[str, str], base: object, task: object, settings: TrainingSettings) -> bool:
    try:
        return bool(
            fitting([config], gpu_memory_bytes=size, task=task, base=base, settings=settings)  # type: ignore[arg-type]
        )
    except InputError:
        return False


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("24GB", 24 * 10**9), ("80GiB", 80 * 2**30), ("512m", 512 * 10**6), ("0.5 T", 5 * 10**11)],
)
def test_sizes_are_read_with_their_units(text: str, size_bytes: int) -> None:
    assert parse_size(text, "--gpu-memory") == size_bytes


@pytest.mark.parametrize("text", ["24", "GB", "24XB", "-1GB", "0GB", ""])
def test_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--gpu-memory must be"):
        parse_size(text, "--gpu-memory")


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_values_are_read_with_the_type_they_were_typed_in(value: object) -> None:
    assert parse_value(json.dumps(value)) == value
    assert type(parse_value(json.dumps(value))) is type(value)


def test_set_and_exclude_are_read_by_name() -> None:
    assert parse_fixed(["optim=lion", "lr = 1e-4"]) == {"optim": "lion", "lr": 1e-4}
    assert parse_excluded(["optim=sgd,lion", "optim=adafactor"]) == {"optim": ["sgd", "lion", "adafactor"]}
    for wrong in ("optim", "=lion", "optim="):
        with pytest.raises(InputError, match="--set must be NAME=VALUE"):
            parse_fixed([wrong])
    with pytest.raises(InputError, match="optim twice"):
        parse_fixed(["optim=lion", "optim=sgd"])


def test_token_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a-token-of-some-length\n")
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == "a-token-of-some-length"
    path.write_text("short")
    with pytest.raises(InputError, match="at least 16 letters"):
        read_token(path)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "tables"
    write_tables(make(World(tasks=3, configs=8, epochs=2)), folder)
    (folder.parent / "features.json").write_text('{"hint": 3.0, "size": null}')
    return folder


def test_tables_are_asked_by_meta_features(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["recommend", "--features", str(tables.parent / "features.json"), "--root", str(tables)]
    assert main([*asked, "--budget", "50s", "--k", "2"]) == 0
    said = capsys.readouterr().out
    assert "learned from 3 tasks, 24 trials" in said
    assert "strangeness of the task" in said
    assert main([*asked, "--budget", "100s", "--speed-factor", "0.5", "--json"]) == 0
    slow = json.loads(capsys.readouterr().out)
    assert main([*asked, "--budget", "50s", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [choice["config"] for choice in slow["choices"]] == [
        choice["config"] for choice in plain["choices"]
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "name a TASK, or give its meta-features"),
        (["worlds:machines", "--features", "f.json"], "one of the two"),
        (["--features", "f.json"], "--features needs --root"),
        (["--features", "nowhere.json", "--root", "{tables}"], "can't be read as JSON"),
        (["--features", "{tables}/table.json", "--root", "{tables}"], "is no number"),
        (["worlds:machines", "--root", "{tables}"], "tables of another origin"),
        (["worlds:machines", "--gpu-memory", "much"], "--gpu-memory must be a size"),
        (["worlds:machines", "--speed-factor", "-1"], "--speed-factor must be above 0"),
    ],
)
def test_question_that_can_not_be_put_is_refused_in_a_sentence(
    tables: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [option.format(tables=tables) for option in options]
    assert main(["recommend", *given, "--budget", "50s"]) == 2
    assert sentence in capsys.readouterr().err


def test_host_that_others_reach_needs_a_chosen_token(
    tables: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "serving", lambda *args, **options: nullcontext(None))
    assert main(["serve", str(tables), "--http", "--host", "0.0.0.0"]) == 2
    assert "--token-file FILE" in capsys.readouterr().err


def test_plan_keeps_its_own_notes(plan: Plan) -> None:
    noted = replace(plan, notes=("one",))
    assert for_device(noted, Constraints(device="H100"), ["cpu"]).notes[0] == "one"
