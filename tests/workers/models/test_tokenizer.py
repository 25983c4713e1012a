"""The embedded model's tokenizer: lossless, single digits, chat marks, answers tokenized as in a sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from workers.models.tiny_phi3 import PATH
from workers.models.tokenizer import MARKS, VOCABULARY, train_tokenizer
from workers.tasks.records import SPLITS
from workers.training.encoding import encode_examples
from workers.worlds import TASK_NAMES, build_task


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(PATH)


def test_training_it_again_gives_the_file_that_ships(tokenizer: Any) -> None:
    again: Any = train_tokenizer()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert again.chat_template == tokenizer.chat_template


def test_special_tokens_are_in_the_vocabulary_and_padding_is_not_a_target(tokenizer: Any) -> None:
    assert len(tokenizer) == VOCABULARY
    ids = [tokenizer.convert_tokens_to_ids(mark) for mark in MARKS]
    assert ids == list(range(len(MARKS)))
    named = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert named <= set(ids)
    assert len(named) == 3
    assert tokenizer.convert_tokens_to_ids("<|end|>") not in named
    assert tokenizer.model_max_length == 512


@given(st.text(max_size=60))
def test_decoding_gives_back_what_was_encoded(tokenizer: Any, text: str) -> None:
    if not any(mark in text for mark in MARKS):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text


@given(st.integers(0, 10**9))
def test_numbers_are_spelt_digit_by_digit(tokenizer: Any, number: int) -> None:
    assert tokenizer.tokenize(f"x{number}")[1:] == list(str(number))


def test_the_chat_template_opens_and_closes_turns_as_phi3_does(tokenizer: Any) -> None:
    question = {"role": "user", "content": "Who?"}
    answer = {"role": "assistant", "content": "Orla"}
    prompt = tokenizer.apply_chat_template([question], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([question, answer], tokenize=False)
    assert prompt == "<|user|> Who?<|end|><|assistant|>"
    assert whole == prompt + " Orla<|end|>"


def test_an_answer_has_the_tokens_it_has_inside_a_sentence(tokenizer: Any) -> None:
    mark, *answer = tokenizer.tokenize("<|assistant|> lentils<|end|>")[:-1]
    assert mark == "<|assistant|>"
    assert tokenizer.tokenize("made from lentils")[-len(answer) :] == answer


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_task_is_encoded_short_and_ends_with_the_end_mark(tokenizer: Any, name: str) -> None:
    task = build_task(name)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    for split in SPLITS:
        encoded = encode_examples(tokenizer, task.split(split), max_length_tokens=64, where=name)
        for example, source in zip(encoded, task.split(split), strict=True):
            assert example.lost_prompt_tokens == example.lost_answer_tokens == 0
            answer = example.tokens[example.prompt_tokens :]
            assert answer[-1] == end
            assert tokenizer.decode(answer[:-1]) == f" {source.answer}"


def test_with_a_space_before_it_a_text_alone_has_the_tokens_that_it_has_in_a_sentence(tokenizer: Any) -> None:
    spaced: Any = train_tokenizer(prefix_space=True)
    assert spaced.get_vocab() == tokenizer.get_vocab()
    for text in ("winter", "Ludo 1207-B", "12 May"):
        alone = spaced(text)["input_ids"]
        assert alone == spaced(f" {text}")["input_ids"] == tokenizer(f" {text}")["input_ids"]
        assert spaced.decode(alone) == f" {text}"
    assert len(spaced("winter")["input_ids"]) < len(tokenizer("winter")["input_ids"])
