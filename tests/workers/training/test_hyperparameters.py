"""Reading a config."""

import pytest

from orchestrator.contracts import InvalidConfigError, Scalar
from workers.training.hyperparameters import Hyperparameters


def test_names_left_out_take_the_default() -> None:
    assert Hyperparameters.from_config({}) == Hyperparameters()


def test_alpha_is_its_ratio_times_the_rank() -> None:
    assert Hyperparameters.from_config({"lora_r": 8, "alpha_over_r": 0.5}).lora_alpha == 4.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rat", 1e-3),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", "high"),
        ("learning_rate", True),
        ("lora_r", 0),
        ("lora_r", 4.5),
        ("lora_dropout", 1.0),
        ("use_rslora", 1),
        ("optim", "adam"),
        ("target_modules", "everything"),
        ("peft_method", "lokr"),
        ("batch_size", None),
    ],
)
def test_a_wrong_value_is_refused_with_name_and_value(name: str, value: Scalar) -> None:
    with pytest.raises(InvalidConfigError) as refusal:
        Hyperparameters.from_config({name: value})
    assert name in str(refusal.value)
    if name in {"optim", "lora_r"}:
        assert repr(value) in str(refusal.value) or str(value) in str(refusal.value)


def test_all_faults_are_shown_together() -> None:
    with pytest.raises(InvalidConfigError, match=r"lora_r.*batch_size"):
        Hyperparameters.from_config({"lora_r": -1, "batch_size": 0})


def test_without_bitsandbytes_what_needs_it_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InvalidConfigError, match="pip install bitsandbytes"):
        Hyperparameters.from_config({"quant": "nf4"})
