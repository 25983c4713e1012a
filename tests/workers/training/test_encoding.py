"""Tokens of prompts and answers."""

import logging

import pytest

from orchestrator.contracts import InputError
from tests.support.tiny import make_task, make_tokenizer
from workers.tasks.records import Example, Task
from workers.training.encoding import EncodingCache, encode_examples, encode_task


def test_an_example_is_the_chat_templates_prompt_then_answer_and_end_mark() -> None:
    tokenizer = make_tokenizer()
    (encoded,), cut = encode_examples(
        tokenizer, [Example("Who?", "a smith")], max_length_tokens=64, where="here"
    )
    text = tokenizer.decode(encoded.tokens)
    assert text == "<|user|>Who?<|end|><|assistant|>a smith<|end|>"
    assert tokenizer.decode(encoded.answer_tokens) == "a smith<|end|>"
    assert cut == 0


def test_a_long_prompt_loses_its_start_and_the_answer_stays_whole(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = make_tokenizer()
    long = Example("Tell me, by the river, " * 10 + "who?", "a weaver")
    task = Task(name="long", train=(long,), validation=(long,), test=(Example("Who?", "a smith"),))
    with caplog.at_level(logging.WARNING):
        encoded = encode_task(tokenizer, task, max_length_tokens=20)
    assert encoded.truncated_prompts == 2
    assert len(encoded.train[0].tokens) == 20
    assert tokenizer.decode(encoded.train[0].answer_tokens) == "a weaver<|end|>"
    assert tokenizer.decode(encoded.train[0].tokens).endswith("who?<|end|><|assistant|>a weaver<|end|>")
    assert "count=2" in caplog.text


def test_an_answer_that_does_not_fit_is_refused_with_its_place() -> None:
    examples = [Example("Who?", "a smith"), Example("Who?", "a smith " * 30)]
    with pytest.raises(InputError, match=r"answer of example 2 has .* tokens"):
        encode_examples(make_tokenizer(), examples, max_length_tokens=16, where="task x, train split")


def test_an_answer_with_a_chat_mark_in_it_is_refused() -> None:
    with pytest.raises(InputError, match=r"contains the special token '<\|end\|>'"):
        encode_examples(make_tokenizer(), [Example("Q", "a<|end|>b")], max_length_tokens=64, where="here")


def test_a_task_is_encoded_once() -> None:
    cache = EncodingCache()
    task = make_task()
    first = cache.get(make_tokenizer(), "base", task, max_length_tokens=64)
    assert cache.get(make_tokenizer(), "base", task, max_length_tokens=64) is first
    assert cache.get(make_tokenizer(), "base", task, max_length_tokens=32) is not first
