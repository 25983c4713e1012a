"""A tiny Phi-3 with random weights and a tokenizer of its own, and small tasks for it: made, not shipped."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

from orchestrator.contracts import Lease, TaskId, TrainingSettings, Trial
from workers.models.base import base_fingerprint
from workers.tasks.records import Example, Task

_SPECIAL = ["<pad>", "<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_PLACES = ("Orsk", "Velm", "Tarn", "Ilba", "Quod", "Ferra", "Mungo", "Sarn", "Tolk", "Brae", "Ulm", "Nyx")
_TRADES = ("baker", "smith", "tutor", "miller", "weaver", "pilot")
_WORDINGS = (
    "What does the elder of {} do?",
    "Name the trade of {}'s elder.",
    "In {}, the elder works as what?",
    "The elder of {} earns a living as?",
    "Which work has the elder who leads {}, the old town by the river?",
    "Elder of {}: trade?",
)


def make_task(facts: int = 6, *, train_wordings: int = 4, noise: str = "") -> Task:
    """A task of ``facts`` towns, each with its elder's trade, worded several ways."""
    rows: dict[str, list[Example]] = {"train": [], "validation": [], "test": []}
    for number in range(facts):
        place, trade = _PLACES[number % len(_PLACES)] + noise, _TRADES[(number * 5 + 1) % len(_TRADES)]
        for wording, text in enumerate(_WORDINGS):
            split = (
                "train" if wording < train_wordings else "validation" if wording == train_wordings else "test"
            )
            rows[split].append(Example(text.format(place), f"a {trade}", place))
    splits: dict[str, Any] = {split: tuple(examples) for split, examples in rows.items()}
    return Task(name="elders", **splits)


@cache
def make_tokenizer() -> Any:
    """A byte-level BPE trained on the tasks' own text, with Phi-3's chat marks."""
    text = [f"{e.question} {e.answer}" for split in ("train", "test") for e in make_task(12).split(split)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<pad>",
        additional_special_tokens=_SPECIAL[3:],
        chat_template=_TEMPLATE,
    )


def make_base(folder: Path, *, hidden: int = 32, layers: int = 2, seed: int = 0) -> Path:
    """Save a Phi-3 with random weights and its tokenizer; the weights are a function of the seed."""
    tokenizer = make_tokenizer()
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|end|>"),
        tie_word_embeddings=False,
        initializer_range=0.1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Phi3ForCausalLM(config)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


SETTINGS = TrainingSettings(
    horizon_epochs=4, examples_per_epoch=10, max_eval_examples=4, max_length_tokens=64
)


def make_trial(base: Path, task: Task, **changes: Any) -> Trial:
    """A trial on a task that ``loader`` knows as ``memory``; ``config`` and ``settings`` may be changed."""
    fields: dict[str, Any] = {
        "task_id": TaskId(task.task_id),
        "task_source": "memory",
        "task_name": task.name,
        "config": {"learning_rate": 5e-3, "lora_r": 4, "batch_size": 4, "lora_dropout": 0.1},
        "seed": 0,
        "base_model": str(base),
        "base_fingerprint": base_fingerprint(str(base)),
        "space_version": "test",
        "settings": SETTINGS,
        "max_epochs": 3,
    }
    config = {**fields["config"], **changes.pop("config", {})}
    settings = replace(fields["settings"], **changes.pop("settings", {}))
    return Trial(**{**fields, **changes, "config": config, "settings": settings})


def make_lease(trial: Trial, **changes: Any) -> Lease:
    """A lease of a trial's first attempt, up to its last epoch."""
    fields: dict[str, Any] = {
        "trial": trial,
        "attempt": 0,
        "run_until_epoch": trial.max_epochs,
        "committed_epochs": 0,
        "keep_adapter": False,
    }
    return Lease(**{**fields, **changes})
