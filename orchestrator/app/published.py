"""What is said where nothing was learned on the base model asked about: the defaults of the field."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.contracts import Config, InputError, TrainingSettings
from workers.models.location import EMBEDDED, locate
from workers.space import SearchSpace
from workers.tasks.records import Task

PRESET = "phi3"
"""The space whose default config holds the field's values."""
_SAMPLE = "sample_finetune.py beside Phi-3-mini-4k-instruct"
SOURCES: Mapping[str, str] = {
    "learning_rate": "QLoRA, arXiv 2305.14314: 2e-4 for models of up to 13 B parameters",
    "lora_r": _SAMPLE,
    "alpha_over_r": f"{_SAMPLE}: alpha 32 at rank 16",
    "lora_dropout": _SAMPLE,
    "target_modules": f"{_SAMPLE}, and QLoRA",
    "lr_scheduler_type": _SAMPLE,
    "batch_size": "QLoRA: 16 for models of up to 13 B parameters",
    "prompt_loss_weight": "QLoRA: trained on the answers alone",
}
"""Where values come from that some publication names."""
EPOCHS = 3
"""Passes over the training data that instruction tuning commonly takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDefaults:
    """Defaults, named as such: no prediction, and nothing learned stands behind them."""

    task: Task
    base_model: str
    learned_on: str
    """The base model that the meta-dataset at hand knows."""
    root: Path
    config: Config
    epochs: int = EPOCHS

    @property
    def why(self) -> str:
        """Say why there is no recommendation, and how to get one."""
        text = (
            f"Nothing was learned on {self.base_model}: {self.root} knows {self.learned_on} alone, and what "
            "is best for one base model is not for another."
        )
        if self.learned_on == EMBEDDED:
            text += (
                " The best learning rates of the embedded model are some twenty times too high for a model "
                "of billions of weights."
            )
        return text

    @property
    def how(self) -> str:
        """Say how to get a recommendation."""
        return (
            "To learn on it: foretune run SWEEP.yaml --root DIR with this base_model "
            "(examples/phi3-1800.yaml is such a sweep), then ask with --root DIR."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-like values; ``is_learned`` is false."""
        return {
            "is_learned": False,
            "task": self.task.name,
            "task_id": self.task.task_id,
            "base_model": self.base_model,
            "learned_on": self.learned_on,
            "root": str(self.root),
            "why": self.why,
            "how": self.how,
            "config": dict(self.config),
            "epochs": self.epochs,
            "sources": dict(SOURCES),
        }

    def as_peft(self) -> dict[str, Any]:
        """Return the defaults in the words of peft and transformers.

        Returns:
            As ``peft_format.as_peft``. A base model whose config.json can't be read is refused.
        """
        from orchestrator.app.peft_format import as_peft

        settings = TrainingSettings(horizon_epochs=self.epochs, compute_dtype="bfloat16")
        base = locate(self.base_model)
        return as_peft(self.config, self.epochs, base=base, task=self.task, settings=settings)

    def render(self) -> RenderableType:
        """Return them as a table for people."""
        table = Table(box=None, padding=(0, 1), header_style="bold")
        table.add_column("name")
        table.add_column("value", justify="right")
        table.add_column("from", ratio=1, overflow="fold")
        for name, value in self.config.items():
            table.add_row(name, str(value), SOURCES.get(name, "the usual"))
        table.add_row("epochs", str(self.epochs), "common; stop by validation loss")
        return Group(
            Text(self.why),
            Text("What follows is no recommendation but the field's published defaults:"),
            table,
            Text(self.how),
        )


def is_other_base(asked: str, learned_on: str) -> bool:
    """Return whether a base model is another one than was learned on.

    Args:
        asked: As a person names it.
        learned_on: As a sweep names its own.

    Returns:
        Whether it is, by its files or, where no hub can be asked for them, by its name.

    Raises:
        InputError: There is no such model here.
    """
    if asked == learned_on:
        return False
    try:
        return locate(asked).fingerprint != locate(learned_on).fingerprint
    except InputError:
        if "/" not in asked or asked.startswith((".", "/", "~")):
            raise
        return asked.partition("@")[0] != learned_on.partition("@")[0]


def published_defaults(task: Task, base_model: str, *, learned_on: str, root: Path) -> PublishedDefaults:
    """Return the defaults for a task on a base model of which nothing is known.

    Args:
        task: The task.
        base_model: Asked about.
        learned_on: What the root's sweep finetuned.
        root: The sweep at hand.

    Returns:
        The defaults, and why there is no more.
    """
    config = SearchSpace.from_spec(PRESET, {}).default()
    return PublishedDefaults(
        task=task, base_model=base_model, learned_on=learned_on, root=root, config=config
    )
