"""Tiny models of many architectures with random weights, each with a tokenizer as its family has one.

The tokenizers differ as the real ones do: Llama's has no padding token and puts a first mark before a text by
itself; Qwen's has no first mark; Gemma's template refuses a system turn, trims what is said and writes
``model`` for the assistant; T5's is a Unigram that ends every text and knows no chat; BART's marks both ends.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BloomConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    MT5Config,
    Phi3Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    T5Config,
    T5Tokenizer,
)

from tests.support.tiny import make_task, make_tokenizer

_LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim }}"
    "{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_QWEN_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe helpful.<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}"
    "{% set thought = '<think>\n\n</think>\n\n' if message['role'] == 'assistant' and loop.last else '' %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + thought + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def _texts() -> list[str]:
    return [f"{e.question} {e.answer}" for split in ("train", "test") for e in make_task(12).split(split)]


def _byte_level(marks: list[str], **settings: Any) -> Any:
    """A byte-level BPE of the tasks' own text, with a family's marks."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=marks,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    around = settings.pop("around", None)
    if around is not None:
        core.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[(mark, core.token_to_id(mark)) for mark in marks if mark in around]
        )
    wrap: Any = PreTrainedTokenizerFast
    return wrap(tokenizer_object=core, additional_special_tokens=marks, **settings)


@cache
def _llama_tokenizer() -> Any:
    marks = ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    return _byte_level(
        marks,
        around=f"{marks[0]} $A",
        bos_token=marks[0],
        eos_token=marks[1],
        chat_template=_LLAMA_TEMPLATE,
        padding_side="left",
    )


@cache
def _qwen_tokenizer() -> Any:
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return _byte_level(marks, pad_token=marks[0], eos_token=marks[2], chat_template=_QWEN_TEMPLATE)


@cache
def _gemma_tokenizer() -> Any:
    marks = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    return _byte_level(
        marks,
        around=f"{marks[2]} $A",
        pad_token=marks[0],
        eos_token=marks[1],
        bos_token=marks[2],
        chat_template=_GEMMA_TEMPLATE,
        padding_side="left",
    )


@cache
def _t5_tokenizer() -> Any:
    core = Tokenizer(models.Unigram())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    marks = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=256, special_tokens=marks, unk_token="<unk>", show_progress=False
    )
    core.train_from_iterator(_texts(), trainer)
    pieces = [(piece, -8.0) for piece in core.get_vocab() if piece not in marks]
    make: Any = T5Tokenizer
    return make([*((mark, 0.0) for mark in marks), *sorted(pieces)], extra_ids=4)


@cache
def _bart_tokenizer() -> Any:
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    return _byte_level(
        marks,
        around="<s> $A </s>",
        bos_token=marks[0],
        pad_token=marks[1],
        eos_token=marks[2],
        unk_token=marks[3],
    )


@cache
def _gpt2_tokenizer() -> Any:
    """One mark for the beginning and the end, none for padding, and no chat template."""
    return _byte_level(["<|endoftext|>"], bos_token="<|endoftext|>", eos_token="<|endoftext|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a tiny model of one architecture is made."""

    config: type[PretrainedConfig]
    tokenizer: Callable[[], Any]
    end: str
    """The mark after an answer."""
    more: Mapping[str, Any]
    """What its config has beyond the usual sizes."""


_GEMMA = {"head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True}
_ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 16}
FAMILIES: Mapping[str, Family] = {
    "phi3": Family(config=Phi3Config, tokenizer=make_tokenizer, end="<|end|>", more={}),
    "llama": Family(config=LlamaConfig, tokenizer=_llama_tokenizer, end="<|eot_id|>", more={}),
    "mistral": Family(
        config=MistralConfig, tokenizer=_llama_tokenizer, end="<|eot_id|>", more={"sliding_window": 24}
    ),
    "qwen2": Family(
        config=Qwen2Config, tokenizer=_qwen_tokenizer, end="<|im_end|>", more={"tie_word_embeddings": True}
    ),
    "qwen3": Family(
        config=Qwen3Config,
        tokenizer=_qwen_tokenizer,
        end="<|im_end|>",
        more={"head_dim": 16, "tie_word_embeddings": True},
    ),
    "gemma": Family(config=GemmaConfig, tokenizer=_gemma_tokenizer, end="<end_of_turn>", more=_GEMMA),
    "gemma2": Family(
        config=Gemma2Config,
        tokenizer=_gemma_tokenizer,
        end="<end_of_turn>",
        more=_GEMMA | _ALTERNATING | {"sliding_window": 24},
    ),
    "gemma3": Family(
        config=Gemma3TextConfig,
        tokenizer=_gemma_tokenizer,
        end="<end_of_turn>",
        more=_GEMMA | _ALTERNATING | {"sliding_window": 24},
    ),
    "gpt2": Family(config=GPT2Config, tokenizer=_gpt2_tokenizer, end="<|endoftext|>", more={}),
    "t5": Family(
        config=T5Config,
        tokenizer=_t5_tokenizer,
        end="</s>",
        more={"feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0},
    ),
    "bart": Family(
        config=BartConfig, tokenizer=_bart_tokenizer, end="</s>", more={"decoder_start_token_id": 2}
    ),
}


OTHERS: Mapping[str, Family] = {
    "gpt_neox": Family(config=GPTNeoXConfig, tokenizer=_gpt2_tokenizer, end="<|endoftext|>", more={}),
    "bloom": Family(config=BloomConfig, tokenizer=_gpt2_tokenizer, end="<|endoftext|>", more={}),
    "mixtral": Family(
        config=MixtralConfig, tokenizer=_llama_tokenizer, end="<|eot_id|>", more={"num_local_experts": 4}
    ),
    "mamba": Family(config=MambaConfig, tokenizer=_gpt2_tokenizer, end="<|endoftext|>", more={}),
    "mt5": Family(config=MT5Config, tokenizer=_t5_tokenizer, end="</s>", more={"decoder_start_token_id": 0}),
}
"""Of which nothing is known beyond what transformers promises of all."""


def _sizes(family: str, hidden: int, layers: int) -> dict[str, Any]:
    if family in ("t5", "mt5"):
        sizes = {"d_model": hidden, "d_kv": hidden // 2, "d_ff": 3 * hidden, "num_layers": layers}
        return sizes | {"num_heads": 2}
    if family == "bart":
        sizes = {"d_model": hidden, "max_position_embeddings": 256}
        for side in ("encoder", "decoder"):
            sizes |= {f"{side}_layers": layers, f"{side}_ffn_dim": 3 * hidden, f"{side}_attention_heads": 2}
        return sizes | {"init_std": 0.1}
    if family == "gpt2":
        sizes = {"n_embd": hidden, "n_layer": layers, "n_head": 2, "n_positions": 256}
        return sizes | {"initializer_range": 0.1}
    if family == "bloom":
        return {"hidden_size": hidden, "n_layer": layers, "n_head": 2, "initializer_range": 0.1}
    if family == "mamba":
        return {"hidden_size": hidden, "num_hidden_layers": layers, "state_size": 8}
    return {
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
        "initializer_range": 0.1,
    }


def make_family(
    family: str, folder: Path, *, hidden: int = 32, layers: int = 2, seed: int = 0, **changes: Any
) -> Path:
    """Save a tiny model of a family and its tokenizer; the weights are a function of the seed."""
    made = {**FAMILIES, **OTHERS}[family]
    tokenizer = made.tokenizer()
    marks = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.convert_tokens_to_ids(made.end),
    }
    fields = {"vocab_size": len(tokenizer), **marks, **_sizes(family, hidden, layers), **made.more, **changes}
    config = made.config(**fields)
    loader: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = loader.from_config(config)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder
