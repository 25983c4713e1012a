"""The contenders of ``benchmarks.trial``: one trial each, on the same tokens, batches and initial adapter."""

import copy
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainingArguments,
)
from transformers import Trainer as HfTrainer

from orchestrator.contracts import (
    Config,
    CurvePoint,
    Lease,
    PointMeasured,
    Report,
    TrainingSettings,
    Trial,
    TrialEnded,
    TrialId,
)
from workers.methods.roles import target_module_names
from workers.models.base import load_base
from workers.models.facts import ModelFacts
from workers.models.location import locate
from workers.tasks.loading import load_task
from workers.training.adapters import add_adapter
from workers.training.control import Decision
from workers.training.encoding import EncodedExample, EncodedTask, encode_task
from workers.training.hyperparameters import Hyperparameters
from workers.training.stream import ExampleStream
from workers.training.trainer import Trainer

LEARNING_RATE = 5e-3
RANK = 16


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all contenders are given."""

    base: str
    task: str
    device: str
    dtype: str
    epochs: int
    examples_per_epoch: int
    batch_size: int

    @property
    def config(self) -> Config:
        """The config, in Foretune's names."""
        return {
            "peft_method": "lora",
            "learning_rate": LEARNING_RATE,
            "lora_r": RANK,
            "alpha_over_r": 2.0,
            "lora_dropout": 0.0,
            "target_modules": "all-linear",
            "optim": "adamw_torch_fused",
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.1,
            "batch_size": self.batch_size,
        }

    @property
    def settings(self) -> TrainingSettings:
        """What a sweep fixes, in Foretune's names."""
        return TrainingSettings(
            horizon_epochs=self.epochs,
            examples_per_epoch=self.examples_per_epoch,
            max_eval_examples=48,
            compute_dtype=self.dtype,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return -(-self.examples_per_epoch // self.batch_size)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What a contender measured."""

    eval_losses: list[float]
    """Validation loss after each epoch, nats per answer token."""
    tokens: int
    """Training tokens, without padding."""
    generation_s: float = 0.0


@dataclass
class _Control:
    """Lets a trial run to its end."""

    points: list[CurvePoint] = field(default_factory=list)

    def report(self, report: Report) -> None:
        if isinstance(report, PointMeasured):
            self.points.append(report.point)
        if isinstance(report, TrialEnded) and not report.outcome.is_success:
            raise RuntimeError(f"the trial ended as {report.outcome}: {report.error}")

    def peek(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision | None:
        return Decision.TRAIN_ON

    def wait(self, trial_id: TrialId, attempt: int, epoch: int) -> Decision:
        return Decision.TRAIN_ON

    def beat(self) -> None:
        pass

    def acknowledged_epoch(self, trial_id: TrialId, attempt: int) -> int:
        return len(self.points)


@functools.cache
def _trial(setting: Setting) -> Trial:
    task = load_task(setting.task)
    return Trial(
        task_id=task.task_id,
        task_source=setting.task,
        task_name=task.name,
        config=setting.config,
        seed=0,
        base_model=setting.base,
        base_fingerprint=locate(setting.base).fingerprint,
        space_version="benchmark",
        settings=setting.settings,
        max_epochs=setting.epochs,
    )


@functools.cache
def _resident(root: Path, device: str) -> Trainer:
    """Return the worker's trainer, which stays from trial to trial."""
    trainer = Trainer(root, load_task=load_task, device=device, threads=1)
    trainer.prepare()
    return trainer


def run_foretune(setting: Setting, folder: Path) -> Curve:
    """Run the trial as a worker does, checkpoints and generated answers included."""
    trial = _trial(setting)
    trainer = _resident(folder.parent, setting.device)
    control = _Control()
    lease = Lease(
        trial=trial, attempt=0, run_until_epoch=setting.epochs, committed_epochs=0, keep_adapter=False
    )
    trainer.train([lease], control)
    trainer.release(trial.trial_id, 0)
    return Curve(
        eval_losses=[point.eval_loss for point in control.points],
        tokens=control.points[-1].tokens,
        generation_s=sum(point.generation_s or 0.0 for point in control.points),
    )


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What the other contenders need and a user of theirs would have at hand: tokens, batches, weights."""

    tokenizer: PreTrainedTokenizerBase
    train: Dataset
    """All epochs' examples in the order of Foretune's batches."""
    held_out: dict[str, Dataset]
    tokens: int
    adapter: dict[str, torch.Tensor]
    targets: list[str]


@functools.cache
def _prepared(setting: Setting) -> _Prepared:
    base = load_base(setting.base, dtype=setting.dtype)
    encoded: EncodedTask = encode_task(
        base.tokenizer, load_task(setting.task), max_length_tokens=setting.settings.max_length_tokens
    )
    trial_id = _trial(setting).trial_id
    stream = ExampleStream(encoded.facts, trial_id, setting.examples_per_epoch)
    lengths = [len(example.tokens) for example in encoded.train]
    order = [
        index
        for epoch in range(1, setting.epochs + 1)
        for batch in stream.batches(epoch, setting.batch_size, lengths)
        for index in batch
    ]
    used = setting.settings.max_eval_examples
    adapted = add_adapter(base, Hyperparameters.from_config(setting.config), trial_id)
    return _Prepared(
        tokenizer=base.tokenizer,
        train=_dataset([encoded.train[index] for index in order]),
        held_out={
            "validation": _dataset(encoded.validation[:used]),
            "test": _dataset(encoded.test[:used]),
        },
        tokens=sum(lengths[index] for index in order),
        adapter={name: weight.detach().clone() for name, weight in adapted.parameters.items()},
        targets=target_module_names(ModelFacts.of(base.location).linear_layers, "all-linear"),
    )


def _dataset(examples: Any) -> Dataset:
    def columns(example: EncodedExample) -> dict[str, list[int]]:
        labels = [-100] * example.prompt_tokens + list(example.answer_tokens)
        return {"input_ids": list(example.tokens), "labels": labels}

    return Dataset.from_list([columns(example) for example in examples])


@functools.cache
def _base_of_others(base: str, dtype: str, device: str) -> Any:
    """Return the frozen base, loaded once: to load it for every trial would only add to their time."""
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    model: Any = AutoModelForCausalLM.from_pretrained(locate(base).path_or_id, dtype=kind)
    model.to(device)
    return model


def _lora(prepared: _Prepared) -> LoraConfig:
    return LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        lora_dropout=0.0,
        target_modules=prepared.targets,
        task_type="CAUSAL_LM",
    )


def _peft_model(setting: Setting, prepared: _Prepared) -> PeftModel:
    """Return a fresh model of the trial's, with the initial adapter that Foretune begins with."""
    base = _base_of_others(setting.base, setting.dtype, setting.device)
    model: Any = get_peft_model(copy.deepcopy(base), _lora(prepared))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.copy_(prepared.adapter[name])
    return model


def _arguments(setting: Setting, folder: Path, order: str) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": setting.batch_size,
        "per_device_eval_batch_size": 64,
        "num_train_epochs": 1,  # the data set holds all epochs, one after the other
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "cosine",
        "warmup_steps": -(-setting.steps_per_epoch * setting.epochs // 10),
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "eval_strategy": "steps",
        "eval_steps": setting.steps_per_epoch,
        "train_sampling_strategy": order,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": setting.device == "cpu",
        "bf16": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": setting.device == "cuda",
        "prediction_loss_only": True,
        "gradient_checkpointing": False,
    }


def _train(trainer: HfTrainer, prepared: _Prepared) -> Curve:
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    history = trainer.state.log_history
    losses = [row["eval_validation_loss"] for row in history if "eval_validation_loss" in row]
    return Curve(eval_losses=losses, tokens=prepared.tokens)


def run_trainer(setting: Setting, folder: Path, *, order: str = "sequential") -> Curve:
    """Run the trial with transformers' Trainer around a peft model."""
    prepared = _prepared(setting)
    trainer = HfTrainer(
        model=_peft_model(setting, prepared),
        args=TrainingArguments(**_arguments(setting, folder, order)),
        train_dataset=prepared.train,
        eval_dataset=prepared.held_out,
        data_collator=DataCollatorForSeq2Seq(prepared.tokenizer, label_pad_token_id=-100),
    )
    return _train(trainer, prepared)


def run_sft_trainer(setting: Setting, folder: Path) -> Curve:
    """Run the trial with TRL's SFTTrainer around a peft model."""
    from trl import SFTConfig, SFTTrainer

    prepared = _prepared(setting)
    arguments = _arguments(setting, folder, "sequential")
    trainer = SFTTrainer(
        model=_peft_model(setting, prepared),
        args=SFTConfig(**arguments, max_length=None, packing=False),
        train_dataset=prepared.train,
        eval_dataset=prepared.held_out,
        processing_class=prepared.tokenizer,
    )
    return _train(trainer, prepared)
