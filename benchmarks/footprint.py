"""How close are memory estimates to what trials take?

    python -m benchmarks.footprint [--device cpu|cuda] [--hidden N] [--layers N] [--vocabulary N] [--json]

For each of a grid of configs, a Phi-3 of random weights trains one epoch and is evaluated. Sizes are in MiB,
predicted and measured: what stays between steps, the base left out; the peak of training; the peak of an
evaluation; all of it with the base; and the ratio of the last two. On a CPU torch's allocator is watched by
its profiler, on CUDA its own counters are read. On a CPU the masks of LoRA's dropout are numpy's, so no
config has any.
"""

import argparse
import gc
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Phi3Config, Phi3ForCausalLM

from benchmarks.live_bytes import allocated_bytes
from orchestrator.contracts import TaskId, TrainingSettings, Trial
from workers.footprint.estimate import estimate
from workers.footprint.lengths import Lengths
from workers.models.base import BaseModel, load_base
from workers.models.tiny_phi3 import PATH
from workers.training.encoding import EncodedExample, EncodedTask
from workers.training.evaluation import evaluate_splits
from workers.training.hyperparameters import Hyperparameters
from workers.training.lora import merged
from workers.training.memory import device_name
from workers.training.run import MICRO_BATCH_TOKENS, TrialRun

MEBIBYTE = 2**20
LENGTH_TOKENS, ANSWER_TOKENS = 64, 16
CONFIGS: tuple[dict[str, Any], ...] = (
    {},
    {"target_modules": "mlp"},
    {"batch_size": 32},
    {"micro_batch_tokens": 256},
    {"optim": "adamw_8bit", "lora_r": 64},
    {"optim": "lion"},
    {"use_dora": True},
    {"quant": "int8"},
    {"quant": "nf4"},
    {"peft_method": "ia3"},
    {"peft_method": "oft"},
    {"peft_method": "miss"},
    {"peft_method": "vera"},
    {"peft_method": "prefix"},
    {"peft_method": "prompt"},
    {"peft_method": "full"},
    {"peft_method": "full", "batch_size": 4, "optim": "adafactor"},
)


def make_base(folder: Path, *, hidden: int, layers: int, vocabulary: int) -> None:
    """Save a Phi-3 of random weights, with the embedded model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(PATH)
    config = Phi3Config(
        hidden_size=hidden,
        intermediate_size=hidden * 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        vocab_size=vocabulary,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    Phi3ForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def make_task() -> EncodedTask:
    """Return examples of random tokens, nearly all of the same length."""
    dice = random.Random(0)

    def examples(count: int) -> tuple[EncodedExample, ...]:
        lengths = [LENGTH_TOKENS - number % 5 for number in range(count)]
        rows = [tuple(dice.randrange(10, 1000) for _ in range(length)) for length in lengths]
        return tuple(EncodedExample(row, len(row) - ANSWER_TOKENS, "x") for row in rows)

    return EncodedTask(train=examples(64), validation=examples(16), test=examples(16), facts=(None,) * 64)


def measure(base: BaseModel, task: EncodedTask, config: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate by one config, and set what torch allocated beside what was foretold."""
    tokens = config.get("micro_batch_tokens", MICRO_BATCH_TOKENS)
    values = {name: value for name, value in config.items() if name != "micro_batch_tokens"}
    hyper = Hyperparameters(lora_dropout=0.0, **values)
    settings = TrainingSettings(horizon_epochs=1, max_new_tokens=ANSWER_TOKENS, compute_dtype=base.dtype)
    trial = Trial(
        task_id=TaskId("task"),
        task_source="random tokens",
        task_name="random",
        config=values,
        seed=0,
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        space_version="none",
        settings=settings,
        max_epochs=1,
    )
    runs: list[TrialRun] = []

    def train() -> None:
        runs.append(TrialRun(trial, hyper, base, task, micro_batch_tokens=tokens))
        runs[0].train_epoch()

    def evaluate() -> None:
        adapted = runs[0].adapted
        with merged(adapted.layers):
            splits = [task.validation, task.test]
            evaluate_splits(adapted.model, base.tokenizer, splits, settings, virtual=adapted.virtual)

    gc.collect()
    resident, training = allocated_bytes(train, base.device)
    _, evaluation = allocated_bytes(evaluate, base.device)
    foretold = estimate(
        hyper,
        base.location,
        base.dtype,
        Lengths.of(task),
        micro_batch_tokens=tokens,
        on_gpu=base.device.type == "cuda",
    )
    whole = foretold.weights_bytes + max(training, resident + evaluation)
    return {
        "config": config,
        "dtype": base.dtype,
        "weights_bytes": foretold.weights_bytes,
        "resident_bytes": [foretold.resident_bytes - foretold.weights_bytes, resident],
        "training_bytes": [foretold.training_bytes - foretold.weights_bytes, training],
        "evaluation_bytes": [foretold.evaluation_bytes, evaluation],
        "total_bytes": [foretold.total_bytes, whole],
    }


def shown(row: dict[str, Any]) -> str:
    """Return one line of the table."""
    config = ", ".join(f"{name} {value}" for name, value in row["config"].items()) or "lora, r 16, all-linear"
    cells = [f"{config:<52}", f"{row['dtype']:<8}"]
    for part in ("resident_bytes", "training_bytes", "evaluation_bytes", "total_bytes"):
        foretold, measured = row[part]
        cells.append(f"{foretold / MEBIBYTE:8.1f} {measured / MEBIBYTE:8.1f}")
    foretold, measured = row["total_bytes"]
    return "  ".join([*cells, f"{foretold / measured:5.2f}"])


def main() -> None:
    """Measure the grid and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--hidden", type=int, default=512, help="a multiple of 64")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--json", action="store_true", help="one object a line instead of the table")
    asked = parser.parse_args()
    task = make_task()
    if not asked.json:
        print(f"hidden {asked.hidden}, layers {asked.layers}, {device_name(torch.device(asked.device))}")
        heads = "".join(f"{part:>19}" for part in ("resident", "training", "evaluation", "all"))
        print(f"{'':<60}{heads}")
    with tempfile.TemporaryDirectory() as folder:
        make_base(Path(folder), hidden=asked.hidden, layers=asked.layers, vocabulary=asked.vocabulary)
        for dtype in ("float32", "bfloat16"):
            for config in CONFIGS:
                quant = config.get("quant", "none")
                base = load_base(folder, quant=quant, dtype=dtype, device=asked.device)
                row = measure(base, task, config)
                print(json.dumps(row) if asked.json else shown(row), flush=True)


if __name__ == "__main__":
    main()
