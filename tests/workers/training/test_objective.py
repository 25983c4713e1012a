"""What is minimised, against transformers' label smoother and plain sums."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.trainer_pt_utils import LabelSmoother

from workers.training.batches import collate
from workers.training.encoding import EncodedExample
from workers.training.forward import target_losses
from workers.training.hyperparameters import Hyperparameters
from workers.training.objective import total_weight, weighted_objective

_VOCABULARY = 11
_EXAMPLES = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 4)).map(
        lambda sizes: EncodedExample(tuple(range(1, 1 + sum(sizes))), sizes[0], "")
    ),
    min_size=1,
    max_size=4,
)


@given(_EXAMPLES, st.floats(0, 0.5), st.sampled_from([0.0, 0.01, 1.0]), st.integers(0, 99))
def test_the_objective_is_the_weighted_mean_of_transformers_smoothed_losses(
    examples: list[EncodedExample], smoothing: float, prompt_weight: float, seed: int
) -> None:
    hyper = Hyperparameters(label_smoothing_factor=smoothing, prompt_loss_weight=prompt_weight)
    batch = collate(examples, device=torch.device("cpu"), with_prompts=prompt_weight > 0)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(batch.labels), _VOCABULARY, generator=generator)
    found = weighted_objective(logits, target_losses(logits, batch), batch, hyper)
    smoother: Any = LabelSmoother(epsilon=smoothing)
    expected = sum(
        float(smoother({"logits": logits[place][None]}, batch.labels[place][None]))
        * (1.0 if batch.is_answer[place] else prompt_weight)
        for place in range(len(batch.labels))
    )
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    weights = sum(1.0 if answer else prompt_weight for answer in batch.is_answer.tolist())
    assert total_weight(examples, prompt_weight) == pytest.approx(weights)
