"""Tokens of prompts and answers."""

import logging

import pytest

from orchestrator.contracts import InputError
from tests.support.tiny import make_task, make_tokenizer
from workers.tasks.records import Example, Task
from workers.training.encoding import EncodingCache, encode_examples, encode_task


def test_an_example_is_the_chat_templates_prompt_then_answer_and_end_mark() -> None:
    tokenizer = make_tokenizer()
    (encoded,) = encode_examples(tokenizer, [Example("Who?", "a smith")], max_length_tokens=64, where="here")
    text = tokenizer.decode(encoded.tokens)
    assert text == "<|user|>Who?<|end|><|assistant|>a smith<|end|>"
    assert tokenizer.decode(encoded.answer_tokens) == "a smith<|end|>"
    assert encoded.lost_prompt_tokens == encoded.lost_answer_tokens == 0


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
