"""What rows say by themselves: right by hand, in range for every task, whatever the order of the rows."""

import math
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.contracts import InputError, TrainingSettings
from tests.workers.metafeatures.rows import shuffled, task_of, tasks
from workers.metafeatures import FEATURES, measure
from workers.metafeatures.names import names_measured
from workers.metafeatures.text import percentile
from workers.tasks.loading import load_task
from workers.tasks.records import Example, Task


@given(tasks, st.integers(0, 100))
def test_features_without_a_base_are_finite_in_range_and_know_no_order(task: Task, seed: int) -> None:
    measured = measure(task)
    assert set(measured) == names_measured(with_base=False)
    assert all(math.isfinite(value) and value >= 0 for value in measured.values())
    for name, value in measured.items():
        assert FEATURES[name].unit != "share" or value <= 1, name
    assert measured["train_examples"] >= measured["wordings_per_fact"] >= 1
    assert measure(shuffled(task, seed)) == measured


def test_features_of_a_small_task_by_hand() -> None:
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
    assert (measured["validation_examples"], measured["test_examples"]) == (1, 1)
    assert measured["steps_per_epoch"] == 1
    assert measured["wordings_per_fact"] == 5 / 2
    assert measured["prompt_words_mean"] == 14 / 5
    assert measured["answer_words_mean"] == 12 / 5
    assert measured["distinct_answers_share"] == 4 / 5
    assert measured["answer_entropy_bits"] == pytest.approx(3 * 0.2 * math.log2(5) + 0.4 * math.log2(5 / 2))
    assert measured["answer_entropy"] == pytest.approx(measured["answer_entropy_bits"] / math.log2(5))
    assert measured["near_duplicates_share"] == 2 / 5
    assert measured["answer_overlap"] == pytest.approx((2 / 3 + 2 / 3 + 0 + 0 + 0) / 5)
    assert measured["answer_disagreement"] == pytest.approx(1 / 5)


def test_what_was_said_before_a_question_is_part_of_it() -> None:
    before = (("system", "Red is a colour."), ("user", "Is it bright?"), ("assistant", "Yes."))
    task = task_of(Example("And blue?", "a colour", context=before), Example("And blue?", "no"))
    measured = measure(task)
    assert (measured["wordings_per_fact"], measured["answer_disagreement"]) == (1, 0)
    assert measured["prompt_words_mean"] == (10 + 2) / 2
    assert measured["answer_overlap"] == 1 / 2


def test_steps_of_an_epoch_follow_its_length_in_the_settings() -> None:
    task = task_of(*(Example(f"q{n}", "a") for n in range(33)))
    for examples, steps in ((None, 3), (16, 1), (17, 2), (100, 7)):
        found = measure(task, settings=TrainingSettings(horizon_epochs=1, examples_per_epoch=examples))
        assert found["steps_per_epoch"] == steps


def test_disagreement_is_the_share_of_wrong_answers_in_a_noisy_world() -> None:
    for noise in (0.0, 0.2, 0.4):
        task = load_task(f"worlds:towns?noise={noise}")
        assert measure(task)["answer_disagreement"] == pytest.approx(noise, abs=0.03)


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=30))
@settings(max_examples=30)
def test_disagreement_of_one_fact_is_what_its_majority_leaves(answers: list[str]) -> None:
    # Articles are no words to SQuAD's normaliser, so "a" is an answer of its own: the empty one.
    measured = measure(task_of(*(Example(f"q{n}", answer, "f") for n, answer in enumerate(answers))))
    most = max(answers.count(answer) for answer in answers)
    assert measured["answer_disagreement"] == pytest.approx(1 - most / len(answers))


def test_repeated_text_compresses_better_than_varied_text() -> None:
    dice = random.Random(0)
    varied = [Example("".join(dice.choices("abcdefghijklmnop ", k=40)) + "?", str(n)) for n in range(200)]
    alike = [Example(f"What is the name of number {n}?", str(n)) for n in range(200)]
    assert measure(task_of(*alike))["compression_ratio"] < measure(task_of(*varied))["compression_ratio"] / 2


def test_answers_without_a_word_are_measured() -> None:
    measured = measure(task_of(Example("?", "+"), Example("!", "the"), Example("…", "—")))
    assert (measured["answer_overlap"], measured["distinct_answers_share"]) == (0, 1)


def test_a_hundred_thousand_rows_are_measured() -> None:
    rows = (Example(f"What is {n * n}?", f"number {n}") for n in range(100_000))
    measured = measure(task_of(*rows))
    assert measured["train_examples"] == 100_000
    assert measured["answer_entropy"] == 1


def test_task_without_training_examples_is_refused() -> None:
    with pytest.raises(InputError, match="task t has no training examples"):
        measure(task_of())


@given(st.lists(st.integers(0, 50), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_that_leaves_no_more_than_the_rest(
    values: list[int], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_features_without_a_base_need_no_torch() -> None:
    code = (
        "import sys; from workers.metafeatures import measure; from workers.tasks.loading import load_task\n"
        "measure(load_task('worlds:towns'))\n"
        "print(sorted({'torch', 'transformers', 'ray', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
