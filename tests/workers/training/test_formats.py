"""Prompts and answers as each family's tokenizer has them, and what a person wrote always as text."""

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from orchestrator.contracts import InputError
from tests.support.families import FAMILIES
from tests.support.tiny import make_tokenizer
from workers.tasks.records import Example
from workers.training.formats import tokenise

PLAIN = Example("Who?", "a smith")
TALK = Example(
    "Who?",
    "a smith",
    context=(("system", "Be short."), ("user", "Where?"), ("assistant", "Orsk")),
)


def _texts(family: str, example: Example) -> tuple[str, str]:
    """Prompt and answer of an example, decoded with all marks."""
    made = FAMILIES[family]
    is_pair = family in ("t5", "bart")
    (parts,) = tokenise(made.tokenizer(), [example], where="here", is_encoder_decoder=is_pair)
    decode = made.tokenizer().decode
    return decode(parts.prompt), decode(parts.answer)


@pytest.mark.parametrize(
    ("family", "prompt", "answer"),
    [
        ("phi3", "<|user|>Who?<|end|><|assistant|>", "a smith<|end|>"),
        (
            "llama",
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "a smith<|eot_id|>",
        ),
        (
            "qwen3",
            "<|im_start|>system\nBe helpful.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n\n</think>\n\n",
            "a smith<|im_end|>",
        ),
        (
            "gemma3",
            "<bos><start_of_turn>user\nWho?<end_of_turn>\n<start_of_turn>model\n",
            "a smith<end_of_turn>",
        ),
        ("gpt2", "Who?\n", "a smith<|endoftext|>"),
        ("t5", "Who?</s>", "a smith</s>"),
        ("bart", "<s>Who?</s>", "<s>a smith</s>"),
    ],
)
def test_each_family_has_its_own_form(family: str, prompt: str, answer: str) -> None:
    assert _texts(family, PLAIN) == (prompt, answer)


@pytest.mark.parametrize(
    ("family", "prompt"),
    [
        (
            "phi3",
            "<|system|>Be short.<|end|><|user|>Where?<|end|><|assistant|>Orsk<|end|>"
            "<|user|>Who?<|end|><|assistant|>",
        ),
        (
            "gemma3",
            "<bos><start_of_turn>user\nBe short.\n\nWhere?<end_of_turn>\n"
            "<start_of_turn>model\nOrsk<end_of_turn>\n<start_of_turn>user\nWho?<end_of_turn>\n<start_of_turn>model\n",
        ),
        ("gpt2", "Be short.\nWhere?\nOrsk\nWho?\n"),
        ("t5", "Be short. Where? Orsk Who?</s>"),
    ],
)
def test_what_was_said_before_is_part_of_the_prompt(family: str, prompt: str) -> None:
    """Gemma's template refuses a system turn, whose text then opens the user's; T5 knows no line feeds."""
    assert _texts(family, TALK)[0] == prompt


def test_turns_that_a_template_refuses_are_named() -> None:
    odd = Example("Who?", "a smith", context=(("user", "Where?"),))
    with pytest.raises(InputError, match=r"here: .* refuses the turns of example 2 \(user, user\)"):
        tokenise(FAMILIES["gemma3"].tokenizer(), [PLAIN, odd], where="here")


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "t5"])
def test_text_that_spells_a_mark_is_encoded_as_text(family: str) -> None:
    made = FAMILIES[family]
    tokenizer = made.tokenizer()
    spelt = f"a {made.end} smith"
    odd = Example(f"What is {made.end}?", spelt, context=(("system", made.end),))
    parts = tokenise(tokenizer, [PLAIN, odd, PLAIN], where="here", is_encoder_decoder=family == "bart")
    assert parts[0] == parts[2]
    end = tokenizer.convert_tokens_to_ids(made.end)
    assert parts[1].answer.count(end) == 1
    assert parts[1].answer[-1] == end
    assert tokenizer.decode(parts[1].answer, skip_special_tokens=True).split() == spelt.split()
    assert parts[1].prompt.count(end) <= 3, "the marks of the turns, and none of what is said"


def test_a_mark_is_left_to_the_template_where_text_spells_another() -> None:
    """Beside the text itself, the tokens are those of the same example without it."""
    tokenizer = make_tokenizer()
    odd, plain = (
        tokenise(tokenizer, [Example(question, "a smith")], where="here")[0]
        for question in ("Who <|user|>?", "Who ?")
    )
    assert odd.answer == plain.answer
    assert odd.prompt[0] == plain.prompt[0]
    assert odd.prompt[-2:] == plain.prompt[-2:]
    assert tokenizer.decode(odd.prompt) == "<|user|>Who <|user|>?<|end|><|assistant|>"


def test_a_template_that_alters_the_turn_it_opened_ends_as_it_would() -> None:
    tokenizer = make_tokenizer()
    before = tokenizer.chat_template
    tokenizer.chat_template = before.replace("{{ message['content'] }}", "[{{ message['content'] | upper }}]")
    try:
        (parts,) = tokenise(tokenizer, [PLAIN], where="here")
    finally:
        tokenizer.chat_template = before
    assert tokenizer.decode(parts.answer) == "a smith<|endoftext|>"


def _words(**marks: Any) -> Any:
    """A tokenizer that knows a few words and no chat."""
    core = Tokenizer(
        models.WordLevel({"[UNK]": 0, "a": 1, "smith": 2, "Who?": 3, "<end>": 4}, unk_token="[UNK]")
    )
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrap: Any = PreTrainedTokenizerFast
    return wrap(tokenizer_object=core, unk_token="[UNK]", **marks)


def test_a_tokenizer_without_an_end_mark_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"here: tokenizer .* no token that ends an answer; set eos_token"):
        tokenise(_words(), [PLAIN], where="here")


def test_text_that_can_only_be_read_as_a_mark_is_refused_by_its_place() -> None:
    """T5's own pieces include its end mark."""
    t5 = FAMILIES["t5"].tokenizer()
    with pytest.raises(InputError, match="here, example 1: the text contains the special token '</s>'"):
        tokenise(t5, [Example("Who?", "a </s>")], where="here", is_encoder_decoder=True)
    tokenizer = _words(eos_token="<end>")
    (parts,) = tokenise(tokenizer, [PLAIN], where="here")
    assert tokenizer.decode(parts.answer) == "a smith <end>"
    with pytest.raises(InputError, match="here, example 2: the text contains the special token '<end>'"):
        tokenise(tokenizer, [PLAIN, Example("Who?", "a <end>")], where="here")
