"""What a worker's device can train, asked before anything is loaded onto it, and in what micro-batches."""

import logging

import torch

from orchestrator.contracts import InvalidConfigError
from workers.footprint.examination import SHORTEST, examine
from workers.footprint.fitting import device_memory_bytes, micro_batch_tokens, usable_bytes
from workers.footprint.lengths import Lengths
from workers.models.location import ModelLocation
from workers.training.hyperparameters import Hyperparameters
from workers.training.run import MICRO_BATCH_TOKENS

_log = logging.getLogger(__name__)


class Admission:
    """Stands before a device.

    Args:
        device: The worker's.
        processes: Workers that have it together, if it is a GPU.
    """

    def __init__(self, device: torch.device, processes: int) -> None:
        self._device = device
        self._processes = processes
        self._memory_bytes = device_memory_bytes(device)

    def check(
        self, hyper: Hyperparameters, location: ModelLocation, dtype: str, lengths: Lengths = SHORTEST
    ) -> None:
        """Refuse a config that can't run.

        Args:
            hyper: The config.
            location: The base model's files, of which config.json is read.
            dtype: Compute type: ``float32`` or ``bfloat16``.
            lengths: Of the task's examples; left out, what no task can do without is counted.

        Raises:
            InvalidConfigError: It can't run on this model, or the device's memory can't suffice; with all
                reasons.
        """
        on_gpu = self._device.type == "cuda"
        problems = examine(
            hyper,
            location,
            dtype,
            device_type=self._device.type,
            memory_bytes=usable_bytes(self._memory_bytes, self._processes) if on_gpu else self._memory_bytes,
            lengths=lengths,
        )
        if problems:
            raise InvalidConfigError("; ".join(problems))

    def micro_batch_tokens(
        self, hyper: Hyperparameters, location: ModelLocation, dtype: str, lengths: Lengths
    ) -> int:
        """Return how many padded tokens go through the model at once; see ``fitting.micro_batch_tokens``."""
        gpu_bytes = self._memory_bytes if self._device.type == "cuda" else None
        tokens = micro_batch_tokens(hyper, location, dtype, lengths, gpu_bytes, processes=self._processes)
        if tokens < MICRO_BATCH_TOKENS:
            _log.warning(
                "smaller micro-batches for want of memory tokens=%d usual=%d", tokens, MICRO_BATCH_TOKENS
            )
        return tokens
