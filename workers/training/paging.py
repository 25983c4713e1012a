"""bitsandbytes' paged optimizers, whose managed memory the next trial uses again. Imports bitsandbytes.

Paged state lies in memory that GPU and host share; the driver moves its pages out where the GPU is full.
bitsandbytes 0.50.2 allocates such memory and can't free it: in a worker that trains one trial after the other
the state of every trial would stay. So buffers outlive their optimizer, and one that needs the same shape
takes them over. They live as long as the process.
"""

import weakref
from collections import defaultdict
from typing import Any

import bitsandbytes
import torch

_spare: defaultdict[tuple[torch.Size, torch.dtype, torch.device], list[torch.Tensor]] = defaultdict(list)
"""Buffers whose optimizer is gone, by shape, type and device."""


class _UsesBuffersAgain:
    """What gives an optimizer of bitsandbytes the buffers that earlier ones left."""

    def get_state_buffer(self, p: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return a buffer of zeros of a weight's shape; large ones are paged."""
        spare = _spare[p.shape, dtype, p.device]
        if spare:
            buffer = spare.pop()
            bitsandbytes.functional.fill(buffer, 0)
        else:
            made: Any = super()
            buffer = made.get_state_buffer(p, dtype=dtype)
        if getattr(buffer, "is_paged", False):
            weakref.finalize(self, spare.append, buffer).atexit = False
        return buffer


class PagedAdamW(_UsesBuffersAgain, bitsandbytes.optim.AdamW):  # type: ignore[misc]
    """``bitsandbytes.optim.AdamW`` whose paged buffers are used again."""


class PagedLion(_UsesBuffersAgain, bitsandbytes.optim.Lion):  # type: ignore[misc]
    """``bitsandbytes.optim.Lion`` whose paged buffers are used again."""
