"""Measuring on a base model: complete, finite, the same in any order of the rows, the base as it was."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from orchestrator.contracts import InputError, TrainingSettings
from tests.support.tiny import make_task
from tests.workers.metafeatures.rows import shuffled, task_of
from workers.metafeatures import FEATURES, measure, measure_encoded
from workers.metafeatures.names import names_measured
from workers.metafeatures.probes import GRADIENT_EXAMPLES
from workers.models.base import BaseModel, load_base
from workers.tasks.records import Example
from workers.training.encoding import encode_task

SETTINGS = TrainingSettings(horizon_epochs=1, max_eval_examples=5, max_new_tokens=8, max_length_tokens=64)
TIMED = {name for name, feature in FEATURES.items() if feature.is_timed}


def exact(measured: dict[str, float]) -> dict[str, float]:
    """What comes from no clock."""
    return {name: value for name, value in measured.items() if name not in TIMED}


def test_features_with_a_base_model_are_those_of_the_table(loaded_base: BaseModel) -> None:
    measured = measure(make_task(), base=loaded_base, settings=SETTINGS)
    assert set(measured) == names_measured(with_base=True)
    assert all(type(value) is float and math.isfinite(value) for value in measured.values())
    encoded = encode_task(loaded_base.tokenizer, make_task(), max_length_tokens=SETTINGS.max_length_tokens)
    assert exact(measure_encoded(make_task(), encoded, loaded_base, SETTINGS)) == exact(measured)
    lengths = [(e.prompt_tokens, len(e.answer_tokens)) for e in encoded.train]
    prompts, answers = (sorted(column) for column in zip(*lengths, strict=True))
    assert measured["train_prompt_tokens"] == sum(prompts)
    assert measured["train_answer_tokens"] == sum(answers)
    assert measured["prompt_tokens_mean"] == sum(prompts) / len(prompts)
    assert measured["answer_tokens_mean"] == sum(answers) / len(answers)
    assert measured["answer_prompt_ratio"] == sum(answers) / sum(prompts)
    assert measured["prompt_tokens_p95"] == prompts[-2]  # the 23rd of 24
    assert measured["short_answers_share"] == sum(count <= 6 for count in answers) / len(answers)


def test_the_model_is_described_as_it_is(loaded_base: BaseModel) -> None:
    measured = measure(make_task(), base=loaded_base, settings=SETTINGS)
    model = loaded_base.model
    assert measured["model_parameters"] == sum(weight.numel() for weight in model.parameters())
    assert (measured["model_hidden_size"], measured["model_layers"]) == (32, 2)
    assert (measured["model_weight_bits"], measured["device_is_gpu"]) == (32, 0)


@pytest.mark.parametrize("seed", range(2))
def test_order_of_rows_changes_no_bit_of_any_feature(loaded_base: BaseModel, seed: int) -> None:
    task = make_task(12)
    assert len(task.train) > GRADIENT_EXAMPLES
    assert exact(measure(shuffled(task, seed), base=loaded_base, settings=SETTINGS)) == exact(
        measure(task, base=loaded_base, settings=SETTINGS)
    )


def test_measuring_leaves_the_base_model_and_the_number_of_threads_as_they_were(
    loaded_base: BaseModel,
) -> None:
    before = {name: weight.clone() for name, weight in loaded_base.model.state_dict().items()}
    torch.set_num_threads(2)
    measure(make_task(), base=loaded_base, settings=SETTINGS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert threads == 2
    after = loaded_base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert all(not weight.requires_grad and weight.grad is None for weight in loaded_base.model.parameters())


def test_a_base_in_half_precision_is_measured(random_base: Path) -> None:
    measured = measure(make_task(), base=load_base(str(random_base), dtype="bfloat16"), settings=SETTINGS)
    assert measured["model_weight_bits"] == 16
    assert measured["probe_loss_drop"] > 0


def test_task_of_one_row_a_split_and_one_of_thousands_are_measured(loaded_base: BaseModel) -> None:
    one = measure(task_of(Example("Which town?", "Orsk")), base=loaded_base, settings=SETTINGS)
    assert (one["zero_shot_loss_sd"], one["train_examples"], one["distinct_answers_share"]) == (0, 1, 1)
    rows = tuple(Example(f"What is number {n}?", f"a {n % 7}") for n in range(3000))
    many = replace(task_of(*rows), validation=rows[:500])
    measured = measure(many, base=loaded_base, settings=SETTINGS)
    assert measured["train_examples"] == 3000
    assert measured["distinct_answers_share"] == 7 / 3000


def test_text_of_other_scripts_is_measured(loaded_base: BaseModel) -> None:
    rows = (
        Example("奥尔斯克的长老做什么工作？", "面包师"),
        Example("Ποιος κυβερνά την Ορσκ;", "ο γέροντας 🧓"),
    )
    measured = measure(task_of(*rows), base=loaded_base, settings=SETTINGS)
    assert measured["answer_entropy"] == 1


def test_base_model_with_a_loss_that_is_not_finite_is_refused(loaded_base: BaseModel) -> None:
    broken = replace(loaded_base, name="broken", model=loaded_base.structure_copy())
    head = broken.model.lm_head
    head.weight = torch.nn.Parameter(torch.full_like(head.weight, math.nan), requires_grad=False)
    with pytest.raises(InputError, match=r"with base model broken: zero_shot_loss, .* not a finite number"):
        measure(make_task(), base=broken, settings=SETTINGS)
