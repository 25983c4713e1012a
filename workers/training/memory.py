"""How much memory a trial took: the device's, or on a CPU the process's resident set; and who keeps it."""

import ctypes
import re
import resource
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Names of glibc's ``malloc.h``."""
_KEPT_BYTES = 2**30
_GROWTH_BYTES = 2**26
_LARGEST_KEPT_BYTES = 2**25
"""Above this glibc never keeps a block."""


def keep_freed_memory() -> None:
    """Let the process keep what a step frees for the next one, where the allocator is glibc's.

    Otherwise it is given back to the system and asked for again at every step: a twentieth of a small trial's
    time goes into page faults. ``reset_peak_memory`` gives it back between trials.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TOP_PAD, _GROWTH_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new peak, where the system can; elsewhere the peak is that of the process's whole life."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")  # Linux: sets the high-water mark to the present size
    except OSError:
        return


def peak_memory_bytes(device: torch.device) -> int:
    """Return the highest use since ``reset_peak_memory``."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if _STATUS.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the config does not fit: torch's, Python's, or the CPU allocator's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)


def device_name(device: torch.device) -> str:
    """Return the device as its driver names it: a GPU's product name, or the processor's model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else "cpu"
