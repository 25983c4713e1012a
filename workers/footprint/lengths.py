"""How long a task's examples are, and the micro-batches that come of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest

from transformers import PreTrainedTokenizerBase

from orchestrator.contracts import TrainingSettings
from workers.footprint.activations import Rows
from workers.footprint.tracing import Places
from workers.models.facts import ModelFacts
from workers.tasks.records import Example, Task
from workers.training.batches import PACKED_ROW_TOKENS
from workers.training.encoding import EncodedExample, EncodedTask, encode_examples
from workers.training.hyperparameters import Hyperparameters

_ENCODED = 16
"""Examples of a task that are encoded to foretell its lengths, by each of two counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The longest examples of a task, in tokens."""

    prompt_tokens: int
    answer_tokens: int
    """End mark included."""
    example_tokens: int
    """Prompt and answer together."""
    held_out: int
    """Examples of validation and test that are evaluated."""

    @classmethod
    def of(cls, task: EncodedTask, max_eval_examples: int | None = None) -> "Lengths":
        """Measure an encoded task, all splits together; ``max_eval_examples`` caps both held-out ones."""
        held_out = sum(len(split[:max_eval_examples]) for split in (task.validation, task.test))
        return _longest((*task.train, *task.validation, *task.test), held_out=held_out)


def foretold_lengths(
    tokenizer: PreTrainedTokenizerBase, task: Task, settings: TrainingSettings, *, is_encoder_decoder: bool
) -> Lengths:
    """Measure a task by encoding few of its examples: those with the most letters.

    Args:
        tokenizer: The base model's.
        task: The task.
        settings: Caps on lengths and on held-out examples.
        is_encoder_decoder: Whether the base model is one.

    Returns:
        The lengths; shorter than the task's own where an example of fewer letters has more tokens. What can't
        be encoded is refused as by ``encode_examples``.
    """
    cap = settings.max_eval_examples
    examples = [*task.train, *task.validation[:cap], *task.test[:cap]]
    chosen = {
        id(example): example
        for letters in (_letters, lambda example: len(example.answer))
        for example in nlargest(_ENCODED, examples, key=letters)
    }
    encoded = encode_examples(
        tokenizer,
        list(chosen.values()),
        max_length_tokens=settings.max_length_tokens,
        where=f"task {task.name}",
        is_encoder_decoder=is_encoder_decoder,
    )
    return _longest(encoded, held_out=len(task.validation[:cap]) + len(task.test[:cap]))


def _letters(example: Example) -> int:
    said = sum(len(content) for _, content in example.context)
    return said + len(example.question) + len(example.answer)


def _longest(examples: Sequence[EncodedExample], *, held_out: int) -> Lengths:
    return Lengths(
        prompt_tokens=max(example.prompt_tokens for example in examples),
        answer_tokens=max(len(example.answer_tokens) for example in examples),
        example_tokens=max(len(example.tokens) for example in examples),
        held_out=held_out,
    )


def training_rows(
    hyper: Hyperparameters, facts: ModelFacts, lengths: Lengths, micro_batch_tokens: int
) -> Rows:
    """Return the largest micro-batch of a trial.

    Args:
        hyper: Batch size, packing, virtual tokens, the prompts' weight.
        facts: Of the base model.
        lengths: Of the task's examples.
        micro_batch_tokens: Padded tokens of a micro-batch at most, but for a single longer example.

    Returns:
        As many of the longest examples as fit, each with the longest answer.
    """
    width, most = lengths.example_tokens, hyper.batch_size
    rows = min(most, max(1, micro_batch_tokens // width))
    if hyper.packing:
        width = max(width, min(micro_batch_tokens, PACKED_ROW_TOKENS, most * width))
        rows = 1
    answered = max(rows, width // lengths.example_tokens) * lengths.answer_tokens
    targets = rows * width if hyper.prompt_loss_weight > 0 else answered
    return _rows(hyper, facts, lengths, rows, width, min(targets, rows * width))


def evaluation_rows(hyper: Hyperparameters, facts: ModelFacts, lengths: Lengths, batch_tokens: int) -> Rows:
    """Return the largest batch of an evaluation; see ``training_rows``."""
    width = lengths.example_tokens
    rows = min(lengths.held_out, max(1, batch_tokens // width))
    return _rows(hyper, facts, lengths, rows, width, rows * lengths.answer_tokens)


def accumulates(hyper: Hyperparameters, lengths: Lengths, micro_batch_tokens: int) -> bool:
    """Whether a batch may take several micro-batches, so that gradients wait beside activations."""
    most = min(micro_batch_tokens, PACKED_ROW_TOKENS) if hyper.packing else micro_batch_tokens
    return hyper.batch_size > 1 and hyper.batch_size * lengths.example_tokens > most


def _rows(
    hyper: Hyperparameters, facts: ModelFacts, lengths: Lengths, rows: int, width: int, targets: int
) -> Rows:
    virtual = hyper.num_virtual_tokens if hyper.peft_method == "prompt" else 0
    if facts.is_encoder_decoder:
        places = Places(lengths.prompt_tokens + virtual, lengths.answer_tokens)
        return Rows(rows=rows, places=places, targets=rows * lengths.answer_tokens)
    return Rows(rows=rows, places=Places(0, width + virtual), targets=targets)
