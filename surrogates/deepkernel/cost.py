"""The cost network: seconds of a run, learned on the log scale, positive and right in the mean.

Two blocks read the config and the meta-features and a third joins them; beside it runs a linear path from the
meta-features, since seconds follow size beyond the sizes seen. On a new task, measured seconds move what is
told of all its configs by one ratio.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orchestrator.contracts import InputError
from surrogates.data.normalisation import Array
from surrogates.deepkernel.examples import held_out_tasks
from surrogates.deepkernel.inputs import DTYPE, Columns, held_still, tensor
from surrogates.deepkernel.network import Block

_WIDTH = 16
_BATCH = 256
_MOST_STEPS = 300
_CHECK_EVERY = 10
_PATIENCE = 100
"""Steps without a lower error on the tasks held out before training ends."""
_LEARNING_RATE = 3e-3
_MOST_BIAS = 2.0
"""The correction of the mean lies between one over this and this."""
_LEAST_SPREAD = 0.05
_WITHHELD = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """How measured seconds differ from those told: task by task, and within a task."""

    between: float
    """Standard deviation of a task's mean log ratio."""
    within: float
    """Standard deviation of a trial's log ratio around its task's."""

    def told(self, measured: Array, predicted: Array) -> float:
        """Return how many times dearer a task is than told.

        Args:
            measured: Seconds of trials so far, positive, shape ``(n,)``.
            predicted: What was told of them, as far as they went, shape ``(n,)``.

        Returns:
            Positive; 1 without any trial, and the geometric mean ratio after many.
        """
        logs = np.log(measured / predicted)
        evidence = len(logs) / self.within**2
        return float(np.exp(logs.sum() / self.within**2 / (evidence + 1.0 / self.between**2)))


class CostNetwork:
    """Learned seconds of a full run.

    Args:
        configs: Encoded configs, shape ``(C, D)``.
        features: Encoded meta-features, shape ``(T, M)``.
        full_cost_s: Seconds of a full run, NaN where none was timed, shape ``(T, C)``.
        seed: Of the weights, the batches and the tasks held out.

    Raises:
        InputError: No epoch has a cost above 0.
    """

    def __init__(self, configs: Array, features: Array, full_cost_s: Array, *, seed: int) -> None:
        task, config = np.nonzero(full_cost_s > 0)
        if not len(task):
            raise InputError(
                "no epoch has a cost above 0; give seconds, or 1 for every epoch where time is not known"
            )
        logs = np.log(full_cost_s[task, config])
        self._mean = float(logs.mean())
        self._spread = max(float(logs.std()), _LEAST_SPREAD)
        self._configs, self._features = Columns.fitted(configs), Columns.fitted(features)
        rows = tensor(self._configs.encode(configs[config])), self._read(features[task])
        targets = tensor((logs - self._mean) / self._spread)
        rng = np.random.default_rng(seed)
        held = np.isin(task, held_out_tasks(np.unique(task), rng))
        with held_still(seed):
            self._net = _CostNet(self._configs.width, self._features.width)
            _train(self._net, rows, targets, torch.as_tensor(held), rng)
        told = self._log_seconds(*rows)
        judged = held if held.any() else np.ones(len(task), dtype=bool)
        self.ratios, bias = _judge(logs[judged], told[judged], task[judged])
        self._bias = float(np.clip(bias, 1.0 / _MOST_BIAS, _MOST_BIAS))

    def full_s(self, configs: Array, features: Array | None) -> Array:
        """Return seconds of a full run.

        Args:
            configs: Encoded configs, shape ``(P, D)``.
            features: The task's encoded meta-features, shape ``(M,)``; None for an unknown task.

        Returns:
            Positive, shape ``(P,)``.
        """
        encoded = tensor(self._configs.encode(configs))
        if features is None:
            known = torch.zeros(len(configs), self._features.width, dtype=DTYPE, device="cpu")
        else:
            known = self._read(np.tile(features, (len(configs), 1)))
        return np.asarray(self._bias * np.exp(self._log_seconds(encoded, known)))

    def _read(self, features: Array) -> torch.Tensor:
        return tensor(self._features.encode(features))

    def _log_seconds(self, configs: torch.Tensor, features: torch.Tensor) -> Array:
        with torch.no_grad():
            told: Array = self._net(configs, features).numpy()
        return self._mean + self._spread * told


class _CostNet(nn.Module):
    """Standardised log seconds from config and meta-features."""

    def __init__(self, config_width: int, feature_width: int) -> None:
        super().__init__()
        self.config = Block(config_width, _WIDTH) if config_width else None
        self.feature = Block(feature_width, _WIDTH) if feature_width else None
        joined = _WIDTH * (bool(config_width) + bool(feature_width))
        self.join = Block(joined, 1) if joined else None
        self.line = nn.Parameter(torch.zeros(feature_width, dtype=DTYPE, device="cpu"))
        self.level = nn.Parameter(torch.zeros((), dtype=DTYPE, device="cpu"))

    def forward(self, configs: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return shape ``(n,)``."""
        told: torch.Tensor = self.level + features @ self.line
        parts = [
            block(values)
            for block, values in ((self.config, configs), (self.feature, features))
            if block is not None
        ]
        return told + self.join(torch.cat(parts, dim=1))[:, 0] if self.join is not None else told


def _train(
    net: _CostNet,
    rows: tuple[torch.Tensor, torch.Tensor],
    targets: torch.Tensor,
    held: torch.Tensor,
    rng: np.random.Generator,
) -> None:
    """Train in place; the state with the lowest error on the rows held out is kept."""
    configs, features = rows
    loss_of = nn.HuberLoss()
    optimiser = torch.optim.AdamW(net.parameters(), lr=_LEARNING_RATE, fused=True)
    learned = torch.nonzero(~held)[:, 0]
    best, best_step, lowest = copy.deepcopy(net.state_dict()), 0, np.inf
    for step in range(1, _MOST_STEPS + 1):
        at = learned[torch.as_tensor(rng.permutation(len(learned))[:_BATCH])]
        withheld = torch.as_tensor(rng.random(len(at)) < _WITHHELD)
        with torch.enable_grad():
            optimiser.zero_grad()
            told = net(configs[at], features[at].masked_fill(withheld[:, None], 0.0))
            loss_of(told, targets[at]).backward()
            optimiser.step()
        if step % _CHECK_EVERY or not held.any():
            continue
        with torch.no_grad():
            error = float(loss_of(net(configs[held], features[held]), targets[held]))
        if error < lowest:
            best, best_step, lowest = copy.deepcopy(net.state_dict()), step, error
        elif step - best_step >= _PATIENCE:
            break
    if held.any():
        net.load_state_dict(best)


def _judge(logs: Array, told: Array, task: NDArray[np.int64]) -> tuple[Ratios, float]:
    """Return how ratios spread, and the tasks' mean ratio of all seconds measured to all told."""
    gaps = logs - told
    tasks = [task == number for number in np.unique(task)]
    centres = np.array([gaps[rows].mean() for rows in tasks])
    within = np.sqrt(np.mean([gaps[rows].var() for rows in tasks]))
    bias = np.mean([np.exp(logs[rows]).sum() / np.exp(told[rows]).sum() for rows in tasks])
    between = np.sqrt(np.mean(centres**2))
    return Ratios(between=max(float(between), 0.2), within=max(float(within), _LEAST_SPREAD)), float(bias)
