import inspect
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.app.scheduler_entry import ALIASES, OPTIONS, REFUSED, SchedulerEntry


def read(value: Any) -> SchedulerEntry:
    return SchedulerEntry.model_validate(value)


def test_names_are_those_of_tune() -> None:
    from ray.tune.schedulers import SCHEDULER_IMPORT

    assert {*OPTIONS, *ALIASES, *REFUSED} - {"asha"} == set(SCHEDULER_IMPORT)


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "fifo"])
def test_options_are_those_of_tunes_class(name: str) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule

    tune_class = {
        "asha": AsyncHyperBandScheduler,
        "hyperband": HyperBandScheduler,
        "median_stopping_rule": MedianStoppingRule,
    }[name]
    assert {*OPTIONS[name], "metric", "mode", "time_attr"} == set(inspect.signature(tune_class).parameters)
    tune_class(**read(name).tune_arguments(9))


def test_reading_an_entry_imports_no_ray() -> None:
    code = "import sys; from orchestrator.app.scheduler_entry import SchedulerEntry as E; E(name='asha'); "
    subprocess.run([sys.executable, "-c", code + "assert 'ray' not in sys.modules"], check=True)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("fifo", "fifo"),
        ("ASHA", "asha"),
        ("async_hyperband", "asha"),
        ("medianstopping", "median_stopping_rule"),
        ({"name": "hyperband", "reduction_factor": 3}, "hyperband"),
    ],
)
def test_an_entry_is_a_name_or_a_mapping_and_reads_back(value: Any, name: str) -> None:
    entry = read(value)
    assert entry.name == name
    assert read(entry.model_dump(mode="json")) == entry


@pytest.mark.parametrize(
    ("metric", "mode"),
    [("eval_loss", "min"), ("train_loss", "min"), ("eval_exact_match", "max"), ("eval_token_f1", "max")],
)
def test_losses_are_minimised_and_scores_maximised(metric: str, mode: str) -> None:
    entry = read({"name": "asha", "metric": metric})
    assert entry.mode == mode
    assert entry == read({"name": "asha", "metric": metric, "mode": mode})


def test_tune_is_told_epochs_and_the_sweeps_fidelity() -> None:
    assert read("asha").tune_arguments(7) == {
        "metric": "eval_loss",
        "mode": "min",
        "time_attr": "training_iteration",
        "max_t": 7,
    }
    assert read({"name": "asha", "max_t": 5}).tune_arguments(7)["max_t"] == 5
    assert read("median_stopping_rule").tune_arguments(7)["grace_period"] == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("pbt", "'pbt' can't be used: it changes the configs"),
        ("pb2", "'pb2' can't be used: it changes the configs"),
        ("pbt_replay", "'pbt_replay' can't be used: it changes the configs"),
        ("hb_bohb", "'hb_bohb' can't be used: it needs a searcher"),
        ("resource_changing", "'resource_changing' can't be used: it changes the resources"),
        ("ahsa", "unknown scheduler 'ahsa'; known: fifo, asha, median_stopping_rule, hyperband"),
        ({"name": "asha", "grace": 1}, "unknown option 'grace' of asha; known: max_t, grace_period"),
        ({"name": "asha", "time_attr": "time_total_s"}, "time_attr can't be set"),
        ({"name": "asha", "metric": "loss"}, "unknown metric 'loss'; known: eval_loss"),
        ({"name": "asha", "mode": "max"}, "mode of eval_loss is min, got max"),
        ({"name": "asha", "grace_period": 0}, "grace_period must be a whole number, at least 1, got 0"),
        ({"name": "asha", "grace_period": True}, "got True"),
        ({"name": "asha", "max_t": 2.5}, "max_t must be a whole number, at least 1, got 2.5"),
        ({"name": "asha", "reduction_factor": 1}, "reduction_factor must be a number above 1, got 1"),
        ({"name": "asha", "reduction_factor": "3"}, "got '3'"),
        ({"name": "asha", "reduction_factor": float("nan")}, "got nan"),
        ({"name": "hyperband", "reduction_factor": 1.5}, "must be a number of at least 2, got 1.5"),
        ({"name": "asha", "stop_last_trials": "no"}, "stop_last_trials must be true or false, got 'no'"),
        ({"name": "fifo", "grace_period": 2}, "fifo takes no options, got grace_period"),
        ({"metric": "eval_loss"}, "name"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_known(value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=r"Value error|Field required") as caught:
        read(value)
    assert said in str(caught.value)


def test_faults_are_shown_together() -> None:
    with pytest.raises(ValidationError) as caught:
        read({"name": "asha", "grace_period": 0, "brackets": 0, "speed": 3})
    assert all(word in str(caught.value) for word in ("grace_period", "brackets", "'speed'"))


def test_a_grace_period_beyond_the_fidelity_is_refused() -> None:
    entry = read({"name": "asha", "grace_period": 4})
    assert entry.tune_arguments(4)["grace_period"] == 4
    with pytest.raises(ValueError, match="at most the 3 epochs a trial may train, got 4"):
        entry.tune_arguments(3)
