"""Bytes of tensors while a model trains: what autograd keeps, and the most that torch held at once."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch.profiler import ProfilerActivity, profile


class _Saved:
    """One tensor in autograd's keeping; it goes when its part of the graph does."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class KeptTensors:
    """What autograd keeps for the backward pass: each storage once, weights left out."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        self._weights = {_address(weight) for weight in weights}
        self._saved: weakref.WeakSet[_Saved] = weakref.WeakSet()

    def size_bytes(self) -> int:
        """Return the bytes kept now; hold on to the forward pass's results until you have read it."""
        sizes = {_address(saved.tensor): saved.tensor.untyped_storage().nbytes() for saved in self._saved}
        return sum(size for address, size in sizes.items() if address not in self._weights)

    def pack(self, tensor: torch.Tensor) -> _Saved:
        """Take note of a tensor that autograd saves."""
        saved = _Saved(tensor)
        self._saved.add(saved)
        return saved


@contextmanager
def kept_tensors(model: torch.nn.Module) -> Iterator[KeptTensors]:
    """Count what forward passes within the scope keep; layers of LLM.int8 keep their inputs unseen by it."""
    kept = KeptTensors([*model.parameters(), *model.buffers()])
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda saved: saved.tensor):
        yield kept


def allocated_bytes(work: Callable[[], object], device: torch.device) -> tuple[int, int]:
    """Run something and watch torch's allocator.

    Returns:
        Bytes allocated and not freed by the time it has returned, its result included, and the most at any
        moment, both beyond what was allocated before.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = work()
        torch.cuda.synchronize(device)
        after, peak = torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
        del result
        return after - before, peak - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        result = work()
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    del result
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return live, peak


def _address(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
