"""Tokens of prompts and answers."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.families import FAMILIES
from tests.support.tiny import make_task, make_tokenizer
from workers.models.base import BaseModel
from workers.tasks.records import Example, Task
from workers.training.encoding import EncodingCache, encode_examples, encode_task, end_tokens


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


def test_an_answer_that_is_too_long_loses_its_end_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = make_tokenizer()
    long = Example("Name the trade of the elder, by the river?", "a smith " * 30)
    task = Task(name="long", train=(long,), validation=(long,), test=(Example("Who?", "a smith"),))
    with caplog.at_level(logging.WARNING):
        encoded = encode_task(tokenizer, task, max_length_tokens=40)
    cut = encoded.train[0]
    assert len(cut.tokens) == 40
    assert cut.prompt_tokens == 10, "a quarter of all is left to the prompt"
    assert tokenizer.decode(cut.answer_tokens).startswith("a smith a smith")
    assert "<|end|>" not in tokenizer.decode(cut.answer_tokens)
    assert cut.answer == long.answer
    assert (encoded.truncated_prompts, encoded.truncated_answers) == (2, 2)
    assert "answers cut task=long count=2 max_length_tokens=40" in caplog.text
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert end_tokens(tokenizer, encoded.train) == {tokenizer.eos_token_id}
    assert end_tokens(tokenizer, encoded.test) == {tokenizer.eos_token_id, end}


lengths = st.integers(1, 40)


@given(lengths, lengths, st.integers(2, 50), st.sampled_from(["phi3", "llama", "t5", "gpt2"]))
def test_an_example_keeps_the_end_of_its_prompt_and_the_start_of_its_answer(
    asked: int, said: int, most: int, family: str
) -> None:
    made = FAMILIES[family]
    example = Example("x " * asked, "y " * said)
    whole, cut = (
        encode_examples(
            made.tokenizer(),
            [example],
            max_length_tokens=length,
            where="here",
            is_encoder_decoder=family == "t5",
        )[0]
        for length in (10_000, most)
    )
    prompt, answer = whole.tokens[: whole.prompt_tokens], whole.answer_tokens
    assert len(cut.tokens) == min(most, len(whole.tokens))
    assert cut.lost_prompt_tokens == len(prompt) - cut.prompt_tokens
    assert cut.lost_answer_tokens == len(answer) - len(cut.answer_tokens)
    assert cut.answer_tokens == answer[: len(cut.answer_tokens)]
    assert cut.prompt_tokens >= min(len(prompt), max(1, min(32, most // 4)))
    first = 1 if family == "llama" and cut.prompt_tokens > 1 else 0
    assert cut.tokens[:first] == prompt[:first], "the mark before any text stays"
    assert cut.tokens[first : cut.prompt_tokens] == prompt[len(prompt) - cut.prompt_tokens + first :]


def test_a_task_is_encoded_once(loaded_base: BaseModel) -> None:
    cache = EncodingCache()
    task = make_task()
    first = cache.get(loaded_base, task, max_length_tokens=64)
    assert cache.get(loaded_base, task, max_length_tokens=64) is first
    assert cache.get(loaded_base, task, max_length_tokens=32) is not first
