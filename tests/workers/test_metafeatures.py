"""Meta-features mean what their table says, whatever the order of the rows, and are finite for every task."""

import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError, TrainingSettings
from tests.support.tiny import make_task
from workers.metafeatures import FEATURES, measure, measure_encoded
from workers.models.base import BaseModel
from workers.probes import GRADIENT_EXAMPLES, first_gradient_norm
from workers.tasks.records import SPLITS, Example, Task
from workers.training.adapters import add_adapter
from workers.training.encoding import encode_examples, encode_task
from workers.training.hyperparameters import Hyperparameters

SETTINGS = TrainingSettings(horizon_epochs=1, max_eval_examples=5, max_new_tokens=8, max_length_tokens=64)
WITH_BASE = set(FEATURES) - {"prompt_words_mean", "answer_words_mean"}

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=15).filter(
    lambda t: bool(t.strip())
)
examples = st.builds(
    Example,
    texts | st.sampled_from(["who?", "Who ?"]),
    texts | st.sampled_from("ab"),
    st.none() | st.sampled_from("xy"),
)
splits = st.lists(examples, min_size=1, max_size=12).map(tuple)
tasks = st.builds(Task, name=st.just("t"), train=splits, validation=splits, test=splits)


def task_of(*train: Example) -> Task:
    held = (Example("v", "a"),)
    return Task(name="t", train=train, validation=held, test=held)


def shuffled(task: Task, seed: int) -> Task:
    dice = random.Random(seed)
    orders = {split: dice.sample(task.split(split), len(task.split(split))) for split in SPLITS}
    return Task(name="other", **{split: tuple(rows) for split, rows in orders.items()})


@given(tasks, st.integers(0, 100))
def test_static_features_are_finite_in_range_and_know_no_order(task: Task, seed: int) -> None:
    measured = measure(task)
    assert set(measured) < set(FEATURES)
    assert all(math.isfinite(value) for value in measured.values())
    for name in ("distinct_answers_share", "answer_overlap", "answer_disagreement"):
        assert 0 <= measured[name] <= 1
    assert measured["train_examples"] >= measured["wordings_per_fact"] >= 1
    assert measure(shuffled(task, seed)) == measured


def test_static_features_of_a_small_task_by_hand() -> None:
    measured = measure(
        task_of(
            Example("What is red?", "The rose is red", "f1"),
            Example("Which is red?", "the rose is red.", "f1"),
            Example("Red thing?", "A fox", "f1"),
            Example("Is snow white?", "yes"),
            Example("is  snow WHITE?", "yes"),
        )
    )
    assert measured["train_examples"] == 5
    assert measured["wordings_per_fact"] == 5 / 2
    assert measured["prompt_words_mean"] == 14 / 5
    assert measured["answer_words_mean"] == 12 / 5
    assert measured["distinct_answers_share"] == 4 / 5
    assert measured["answer_overlap"] == pytest.approx((2 / 3 + 2 / 3 + 0 + 0 + 0) / 5)
    assert measured["answer_disagreement"] == pytest.approx(1 / 5)


def test_disagreement_is_the_share_of_wrong_answers_in_a_noisy_world() -> None:
    from workers.tasks.loading import load_task

    for noise in (0.0, 0.2, 0.4):
        task = load_task(f"worlds:towns?noise={noise}")
        assert measure(task)["answer_disagreement"] == pytest.approx(noise, abs=0.03)


def test_repeated_text_compresses_better_than_varied_text() -> None:
    dice = random.Random(0)
    varied = [Example("".join(dice.choices("abcdefghijklmnop ", k=40)) + "?", str(n)) for n in range(200)]
    alike = [Example(f"What is the name of number {n}?", str(n)) for n in range(200)]
    assert measure(task_of(*alike))["compression_ratio"] < measure(task_of(*varied))["compression_ratio"] / 2


def test_task_without_training_examples_is_refused() -> None:
    with pytest.raises(InputError, match="task t has no training examples"):
        measure(task_of())


def test_features_with_a_base_model_are_those_of_the_table(loaded_base: BaseModel) -> None:
    measured = measure(make_task(), base=loaded_base, settings=SETTINGS)
    assert set(measured) == WITH_BASE
    assert len(measured) == 12
    assert all(type(value) is float and math.isfinite(value) for value in measured.values())
    encoded = encode_task(loaded_base.tokenizer, make_task(), max_length_tokens=SETTINGS.max_length_tokens)
    assert measure_encoded(make_task(), encoded, loaded_base, SETTINGS) == measured


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_changes_no_bit_of_any_feature(loaded_base: BaseModel, seed: int) -> None:
    task = make_task(12)
    assert len(task.train) > GRADIENT_EXAMPLES
    assert measure(shuffled(task, seed), base=loaded_base, settings=SETTINGS) == measure(
        task, base=loaded_base, settings=SETTINGS
    )


def test_measuring_leaves_the_base_model_as_it_was(loaded_base: BaseModel) -> None:
    before = {name: weight.clone() for name, weight in loaded_base.model.state_dict().items()}
    measure(make_task(), base=loaded_base, settings=SETTINGS)
    after = loaded_base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert all(not weight.requires_grad and weight.grad is None for weight in loaded_base.model.parameters())


def example_loss(model: torch.nn.Module, tokens: tuple[int, ...], prompt_tokens: int) -> torch.Tensor:
    """Sum of the answer tokens' losses of one example, by the plain forward pass."""
    logits = model(input_ids=torch.tensor([tokens])).logits[0, prompt_tokens - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[prompt_tokens:]), reduction="sum")


def test_zero_shot_losses_and_lengths_agree_with_a_plain_forward_pass(loaded_base: BaseModel) -> None:
    task = make_task(5)
    encoded = encode_task(loaded_base.tokenizer, task, max_length_tokens=64)
    with torch.no_grad():
        nats = [float(example_loss(loaded_base.model, e.tokens, e.prompt_tokens)) for e in encoded.validation]
    counts = [len(example.tokens) - example.prompt_tokens for example in encoded.validation]
    means = torch.tensor(
        [total / count for total, count in zip(nats, counts, strict=True)], dtype=torch.float64
    )
    measured = measure(task, base=loaded_base, settings=SETTINGS)
    assert measured["zero_shot_loss"] == pytest.approx(sum(nats) / sum(counts), rel=1e-5)
    assert measured["zero_shot_loss_sd"] == pytest.approx(float(means.std(correction=0)), rel=1e-4)
    assert measured["prompt_tokens_mean"] == sum(e.prompt_tokens for e in encoded.train) / len(encoded.train)
    assert measured["answer_tokens_mean"] == sum(
        len(e.tokens) - e.prompt_tokens for e in encoded.train
    ) / len(encoded.train)


def test_gradient_norm_agrees_with_a_plain_backward_pass(loaded_base: BaseModel) -> None:
    chosen, _ = encode_examples(loaded_base.tokenizer, make_task(8).train, max_length_tokens=64, where="t")
    adapted = add_adapter(loaded_base, Hyperparameters(lora_dropout=0.0), "meta-features")
    total = sum(example_loss(adapted.model, e.tokens, e.prompt_tokens) for e in chosen)
    tokens = sum(len(e.answer_tokens) for e in chosen)
    assert isinstance(total, torch.Tensor)
    gradients = torch.autograd.grad(total / tokens, list(adapted.parameters.values()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm > 0
    assert first_gradient_norm(loaded_base, chosen) == pytest.approx(float(norm), rel=1e-4)


def test_task_of_one_row_a_split_and_one_of_ten_thousand_are_measured(loaded_base: BaseModel) -> None:
    one = measure(task_of(Example("Which town?", "Orsk")), base=loaded_base, settings=SETTINGS)
    assert (one["zero_shot_loss_sd"], one["train_examples"], one["distinct_answers_share"]) == (0, 1, 1)
    rows = tuple(Example(f"What is number {n}?", f"a {n % 7}") for n in range(10_000))
    many = replace(task_of(*rows), validation=rows[:2000])
    measured = measure(many, base=loaded_base, settings=SETTINGS)
    assert measured["train_examples"] == 10_000
    assert measured["distinct_answers_share"] == 7 / 10_000
    assert all(math.isfinite(value) for value in measured.values())


def test_base_model_with_a_loss_that_is_not_finite_is_refused(loaded_base: BaseModel) -> None:
    broken = replace(loaded_base, name="broken", model=loaded_base.structure_copy())
    head = broken.model.lm_head
    head.weight = torch.nn.Parameter(torch.full_like(head.weight, math.nan), requires_grad=False)
    with pytest.raises(InputError, match=r"with base model broken: zero_shot_loss, .* not a finite number"):
        measure(make_task(), base=broken, settings=SETTINGS)


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=30))
@settings(max_examples=30)
def test_disagreement_of_one_fact_is_what_its_majority_leaves(answers: list[str]) -> None:
    # Articles are no words to SQuAD's normaliser, so "a" is an answer of its own: the empty one.
    measured = measure(task_of(*(Example(f"q{n}", answer, "f") for n, answer in enumerate(answers))))
    most = max(answers.count(answer) for answer in answers)
    assert measured["answer_disagreement"] == pytest.approx(1 - most / len(answers))


def test_static_features_need_no_torch() -> None:
    code = (
        "import sys; from workers.metafeatures import measure; from workers.tasks.loading import load_task\n"
        "measure(load_task('worlds:towns'))\n"
        "print(sorted({'torch', 'transformers', 'ray', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
