"""The README.md in a folder that a trial leaves: what was trained, by which numbers, and how to load it."""

from collections.abc import Callable, Sequence

from orchestrator.contracts import CurvePoint, Trial
from workers.training.adapters import Adapted

_COLUMNS: dict[str, Callable[[CurvePoint], float | None]] = {
    "train loss": lambda point: point.train_loss,
    "validation loss": lambda point: point.eval_loss,
    "validation EM": lambda point: point.eval_exact_match,
    "validation F1": lambda point: point.eval_token_f1,
    "validation ROUGE-L": lambda point: point.eval_rouge_l,
    "test loss": lambda point: point.test_loss,
    "test EM": lambda point: point.test_exact_match,
    "test F1": lambda point: point.test_token_f1,
    "test ROUGE-L": lambda point: point.test_rouge_l,
}
_PRECISIONS = {
    "none": "",
    "int8": " in 8 bits (`load_in_8bit=True`)",
    "nf4": ' in 4 bits (`bnb_4bit_quant_type="nf4"`, `bnb_4bit_use_double_quant=True`)',
}


def model_card(trial: Trial, adapted: Adapted, curve: Sequence[CurvePoint], epoch: int) -> str:
    """Write the card.

    Args:
        trial: What was asked for.
        adapted: What was trained.
        curve: All points of the trial.
        epoch: Whose weights these are.

    Returns:
        Markdown, with the front matter that the Hugging Face hub reads; the licence is left to the user.
    """
    base = adapted.base
    method = str(trial.config.get("peft_method", "lora"))
    is_adapter = adapted.peft_model is not None
    revision = f", revision `{base.location.revision}`" if base.location.revision else ""
    config = "\n".join(f"| {name} | {value} |" for name, value in sorted(trial.config.items()))
    return f"""---
library_name: {"peft" if is_adapter else "transformers"}
base_model: {base.location.path_or_id}
tags: [{method}, foretune]
---
# {trial.task_name}: {f"adapter ({method})" if is_adapter else "finetuned model"}

Finetuned by Foretune from `{trial.base_model}`{revision} (fingerprint `{trial.base_fingerprint}`),
trial `{trial.trial_id}`, seed {trial.seed}. These are the weights after epoch {epoch}, the one with the
lowest validation loss.

```python
{_loading(adapted)}
```

It was trained and measured with the base in {base.dtype}{_PRECISIONS[base.quant]}. Its licence is for you to
choose, within what the licences of the base model and of the task's text allow.

| hyperparameter | value |
| --- | --- |
{config}

Losses are nats per answer token; exact match (EM) and F1 use SQuAD's normaliser on greedy answers.

{_curve_table(curve)}
"""


def _loading(adapted: Adapted) -> str:
    """Return the lines of Python that load what was trained."""
    location = adapted.base.location
    auto = "AutoModelForSeq2SeqLM" if adapted.model.config.is_encoder_decoder else "AutoModelForCausalLM"
    if adapted.peft_model is None:
        return f'from transformers import {auto}\n\nmodel = {auto}.from_pretrained("THIS FOLDER")'
    revision = f', revision="{location.revision}"' if location.revision else ""
    return (
        f"from peft import PeftModel\nfrom transformers import {auto}\n\n"
        f'base = {auto}.from_pretrained("{location.path_or_id}"{revision})\n'
        'model = PeftModel.from_pretrained(base, "THIS FOLDER")'
    )


def _curve_table(curve: Sequence[CurvePoint]) -> str:
    """Return the learning curve, without the columns that were not measured."""
    columns = {
        name: value for name, value in _COLUMNS.items() if any(value(point) is not None for point in curve)
    }
    lines = [f"| epoch | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for point in curve:
        values = [value(point) for value in columns.values()]
        shown = " | ".join("" if value is None else f"{value:.4f}" for value in values)
        lines.append(f"| {point.epoch} | {shown} |")
    return "\n".join(lines)
