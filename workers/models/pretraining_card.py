"""The card beside a pretrained model: what it is, what made it, and the hashes of its files."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workers.models.pretraining_settings import PretrainingSettings

CARD_NAME = "README.md"
HASHED = ("model.safetensors", "tokenizer.json", "config.json")

_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors")

_CARD = """\
# tiny-{architecture}

{what}: `{model}` with {parameters:,} parameters and a byte-level
BPE tokenizer, pretrained on synthetic questions and answers about invented worlds. It stands in for {family}
where there is no GPU and no model hub: small enough that a LoRA trial costs seconds of one core, pretrained
enough that finetuning behaves like finetuning. It knows nothing about the real world, and a learning rate
that is good for it is no advice for a real model.

- Made by `{command}`: {steps:,} steps, {tokens:,} tokens, {minutes:.1f}
  minutes of CPU with {threads} thread, {machine}, Python {python}, {libraries}.
- Data: `workers.worlds.pretraining_corpus(seed={seed})`. {known_share:.0%} of the examples ask after
  {entities} entities of each of six domains, again and again; {fresh:.0%} ask after entities that hardly
  ever come twice; {in_context:.0%} have statements with the answer before the question; {copied:.0%} are
  words of all eight domains to be repeated. Nothing is ever asked about laws and software. No entity is one
  of a built-in task's.
- At the end: loss {train_loss:.3f} nats per weighted token; exact match on known facts
  {known_exact_match:.2f}; on entities never seen {fresh_loss:.2f} nats per answer token, exact match
  {fresh_exact_match:.2f}.
- Weights are bfloat16 safetensors; load them as float32. The log of the run is `pretraining.log`.
- Chat marks as Phi-3's, without newlines: `<|user|> QUESTION<|end|><|assistant|> ANSWER{end}`. {sides}
  begins with a space, so that its first word has the tokens it has inside a sentence.

The same seed, settings, number of threads and kind of CPU give the same bits; another CPU or another
release of torch gives a model that differs in its last digits at first, and in more later.

## SHA-256

{hashes}

## Settings

{settings}
"""


_ARCHITECTURES: Mapping[str, Mapping[str, str]] = {
    "phi3": {"model": "Phi3ForCausalLM", "family": "Phi-3", "end": "<|end|>", "sides": "An answer"},
    "t5": {
        "model": "T5ForConditionalGeneration",
        "family": "T5",
        "end": "<|endoftext|>",
        "sides": "The\n  encoder reads up to `<|assistant|>`, the decoder answers. An answer",
    },
}
_OPTIONS = ("architecture", "steps", "hidden_size", "intermediate_size", "layers", "heads")
"""Settings that are options of `foretune pretrain`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingReport:
    """What a pretraining run made."""

    seed: int
    settings: Mapping[str, Any]
    parameters: int
    cpu_s: float
    """Seconds of CPU over all attempts."""
    last_entry: Mapping[str, float]
    """The log's last line."""


def write_card(folder: Path, report: PretrainingReport) -> None:
    """Write the card of the model in a folder; its files must be there."""
    settings = dict(report.settings)
    mix = settings.pop("mix")
    last = report.last_entry
    usual = asdict(PretrainingSettings())
    changed = {name: settings[name] for name in _OPTIONS if settings[name] != usual[name]}
    text = _CARD.format(
        **_ARCHITECTURES[settings["architecture"]],
        architecture=settings["architecture"],
        what="A base model beside the one that ships"
        if changed
        else "The base model that ships with Foretune",
        command=_command(report.seed, changed),
        parameters=report.parameters,
        seed=report.seed,
        steps=settings["steps"],
        tokens=int(last["tokens"]),
        minutes=report.cpu_s / 60,
        threads=settings["threads"],
        machine=platform.machine(),
        python=platform.python_version(),
        libraries=", ".join(f"{name} {version(name)}" for name in _LIBRARIES),
        known_share=1 - mix["fresh"] - mix["in_context"] - mix["copied"],
        hashes="\n".join(f"- `{name}` {sha256_of(folder / name)}" for name in HASHED),
        settings="\n".join(f"- {name}: {value}" for name, value in {**settings, **mix}.items()),
        **{name: mix[name] for name in ("entities", "fresh", "in_context", "copied")},
        **{
            name: last[name]
            for name in ("train_loss", "known_exact_match", "fresh_loss", "fresh_exact_match")
        },
    )
    (folder / CARD_NAME).write_text(text, encoding="utf-8")


def _command(seed: int, changed: Mapping[str, Any]) -> str:
    options = "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
    return f"foretune pretrain --out DIR --seed {seed}{options}"


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
