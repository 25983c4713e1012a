"""How much memory a trial takes at its peak, part by part."""

from dataclasses import dataclass, fields

from workers.footprint.activations import FLOAT, Rows, kept_bytes, loss_bytes
from workers.footprint.lengths import Lengths, accumulates, evaluation_rows, training_rows
from workers.footprint.tracing import trace_base
from workers.footprint.trained import (
    TRAINED_BYTES,
    adapted_layers,
    frozen_extra_bytes,
    size,
    trained_shapes,
)
from workers.footprint.weights import ELEMENT_BYTES, state_bytes, updates_bytes, weights_bytes
from workers.models.facts import ModelFacts
from workers.models.location import ModelLocation
from workers.training.evaluation import EVAL_BATCH_TOKENS
from workers.training.hyperparameters import Hyperparameters
from workers.training.lora import MERGE_BELOW_WEIGHTS

GIBIBYTE = 2**30
_FORWARD_SHARE = 3.5
"""What a forward pass without gradients holds at once, over what its widest layer takes and gives: measured
between 2.3 and 3.5 at hidden 512, by method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """A trial's memory in bytes: what torch allocates, without the device's own context."""

    weights_bytes: int
    """The frozen base."""
    adapter_bytes: int
    """What is trained, and what the method adds frozen."""
    optimizer_bytes: int
    """The optimizer's state on the device."""
    gradients_bytes: int
    """Of all that is trained."""
    updates_bytes: int
    """What the optimizer makes of the gradients at its step, beside them."""
    activations_bytes: int
    """Kept of one micro-batch for its backward pass."""
    loss_bytes: int
    """Logits of one micro-batch, their logarithms and their gradient."""
    workspace_bytes: int
    """What the backward pass of one layer needs meanwhile."""
    evaluation_bytes: int
    """Of one batch of an evaluation: keys and values, logits, workspace; and weights merged for it."""
    gradients_wait: bool
    """Whether gradients wait beside the activations of a further micro-batch."""

    @property
    def resident_bytes(self) -> int:
        """What stays from step to step."""
        return self.weights_bytes + self.adapter_bytes + self.optimizer_bytes

    @property
    def training_bytes(self) -> int:
        """The peak of training: in the backward pass or at the optimizer's step."""
        backward = self.activations_bytes + max(self.loss_bytes, self.workspace_bytes)
        waiting = self.gradients_bytes if self.gradients_wait else 0
        step = self.gradients_bytes + self.updates_bytes
        return self.resident_bytes + max(backward + waiting, step)

    @property
    def total_bytes(self) -> int:
        """The peak, of training or of an evaluation."""
        return max(self.training_bytes, self.resident_bytes + self.evaluation_bytes)

    def __str__(self) -> str:
        """Say where the memory goes, the largest parts first; the smallest are left out."""
        parts = [field.name for field in fields(self) if field.name.endswith("_bytes")]
        sizes = sorted(((getattr(self, part), part) for part in parts), reverse=True)
        return ", ".join(
            f"{part.removesuffix('_bytes')} {gibibytes(size)}"
            for size, part in sizes
            if 100 * size >= self.total_bytes
        )


def gibibytes(size_bytes: float) -> str:
    """Return a size as a person reads it."""
    if size_bytes < GIBIBYTE / 10:
        return f"{size_bytes / 2**20:.3g} MiB"
    return f"{size_bytes / GIBIBYTE:.3g} GiB"


def estimate(
    hyper: Hyperparameters,
    location: ModelLocation,
    dtype: str,
    lengths: Lengths,
    *,
    micro_batch_tokens: int,
    on_gpu: bool,
) -> Footprint:
    """Estimate a trial's memory from shapes alone; nothing is loaded.

    There is no gradient checkpointing, so activations are those of all layers. What an initialisation needs
    once (``corda``, ``eva``, singular vectors) is not counted.

    Args:
        hyper: The config; it must be valid on the model.
        location: The base model's files, of which config.json is read.
        dtype: Compute type: ``float32`` or ``bfloat16``.
        lengths: Of the task's examples.
        micro_batch_tokens: Padded tokens of a micro-batch at most, but for a single longer example.
        on_gpu: Whether the device is a GPU, where an optimizer's state can be paged.

    Returns:
        The footprint.
    """
    facts = ModelFacts.of(location)
    shapes = trained_shapes(hyper, facts)
    trained_bytes = TRAINED_BYTES * size(shapes)
    e = ELEMENT_BYTES[dtype]
    trace = trace_base(location, dtype, trains_weights=hyper.peft_method == "full")
    batch = training_rows(hyper, facts, lengths, micro_batch_tokens)
    return Footprint(
        weights_bytes=weights_bytes(facts, hyper.quant, dtype),
        adapter_bytes=trained_bytes + frozen_extra_bytes(hyper, facts, e),
        optimizer_bytes=state_bytes(shapes, hyper.optim, on_gpu=on_gpu),
        gradients_bytes=trained_bytes,
        updates_bytes=updates_bytes(shapes, hyper.optim),
        activations_bytes=kept_bytes(hyper, facts, trace, e, batch),
        loss_bytes=loss_bytes(hyper, facts, e, batch),
        workspace_bytes=_workspace_bytes(hyper, facts, e, batch),
        evaluation_bytes=_evaluation_bytes(hyper, facts, e, lengths),
        gradients_wait=accumulates(hyper, lengths, micro_batch_tokens),
    )


def _workspace_bytes(hyper: Hyperparameters, facts: ModelFacts, e: int, batch: Rows) -> int:
    """Return what the widest layer's backward pass holds: the gradients of its input and output."""
    places = batch.rows * max(batch.places.encoder, batch.places.decoder)
    widest = max(n + m for n, m in _inner_shapes(facts)) * e
    if e < FLOAT:
        widest += max((n + m for _, n, m in adapted_layers(hyper, facts)), default=0) * FLOAT
    logits = FLOAT * facts.vocabulary * batch.targets
    return logits + places * widest + _unpacked_bytes(hyper, facts, e)


def _unpacked_bytes(hyper: Hyperparameters, facts: ModelFacts, e: int) -> int:
    """Return the bytes of one layer's weights where they are unpacked, or multiplied out, to be used."""
    n, m = max(_inner_shapes(facts), key=lambda shape: shape[0] * shape[1])
    unpacked = e * n * m if hyper.quant != "none" else 0
    if hyper.peft_method == "lora" and hyper.use_dora:  # B A of a unit matrix, beside the base's weights
        unpacked += FLOAT * (n * n + 3 * n * m)
    return unpacked


def _evaluation_bytes(hyper: Hyperparameters, facts: ModelFacts, e: int, lengths: Lengths) -> int:
    """Return what one batch of an evaluation holds at its height."""
    batch = evaluation_rows(hyper, facts, lengths, EVAL_BATCH_TOKENS)
    places = batch.rows * (batch.places.encoder + batch.places.decoder)
    cache = 2 * facts.layers * facts.kv_heads * facts.head_dim * e * places
    logits = 3 * FLOAT * facts.vocabulary * batch.targets
    widest = max(n + m for n, m in _inner_shapes(facts))
    number_bytes = FLOAT if adapted_layers(hyper, facts) else e
    held = round(_FORWARD_SHARE * batch.rows * max(batch.places.encoder, batch.places.decoder) * widest)
    adapted = sum(n * m for _, n, m in adapted_layers(hyper, facts))
    merges = hyper.peft_method == "lora" and not hyper.use_dora and hyper.quant == "none" and e == FLOAT
    merged = FLOAT * adapted if merges and adapted <= MERGE_BELOW_WEIGHTS else 0
    return cache + max(logits, held * number_bytes) + merged + _unpacked_bytes(hyper, facts, e)


def _inner_shapes(facts: ModelFacts) -> set[tuple[int, int]]:
    """Return the shapes of the linear layers but for the head, whose outputs are counted as logits."""
    return set(facts.linear_layers.values()) - {(facts.hidden_size, facts.vocabulary)}
