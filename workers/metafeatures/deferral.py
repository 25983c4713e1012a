"""Packages that importing torch and transformers loads and that running a model uses nothing of.

``defer`` lets them wait: a deferred package is there, found and named as ever, but its code runs only when
something of it is asked for that is not listed here. So a process that lives for seconds starts in half the
time, and one that does need a package gets it, later. What is listed is what the packages' users ask of them
while nothing is compiled, traced or exported, and it does then what the real one does. The numbers are the
same to the last bit, which a test holds it to.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import MappingProxyType, ModuleType
from typing import Any


def _unchanged(function: Any = None, *_args: object, **_options: object) -> Any:
    """Return a function, as what the compiler is to leave alone is where nothing is compiled."""
    return _unchanged if function is None else function


def _nothing(*_args: object, **_options: object) -> None:
    """Do nothing."""


DEFERRED: Mapping[str, Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "torch._dynamo": {
            "allow_in_graph": _unchanged,
            "assume_constant_result": _unchanged,
            "disable": _unchanged,
            "graph_break": _nothing,
        },
        # Shapes of results in Python, for tracing; those that building a model takes torch has in C++ too,
        # and one that it lacks is an error and no other number.
        "torch._meta_registrations": {},
        "torch.export": {},
    }
)
"""Module to what stands in for its own until it is loaded."""
_FIRST = "torch._meta_registrations"
"""Runs before any other of them: torch's modules import one another in circles, which hold in that order."""


class _Deferred(ModuleType):
    """A package whose code has not run."""

    def __getattr__(self, name: str) -> Any:
        """Run the code for what is not there yet."""
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        for module in (sys.modules.get(_FIRST), self):
            if isinstance(module, _Deferred):
                module.run()
        return getattr(self, name)

    def run(self) -> None:
        """Run the code; from then on this is a module like any other."""
        loader = self.__dict__.pop("_own_loader")
        self.__class__ = ModuleType  # type: ignore[assignment]  # Python's way to be rid of __getattr__
        loader.exec_module(self)


class _DeferringLoader(Loader):
    """Puts a package in place without running its code."""

    def __init__(self, own: Loader, stand_ins: Mapping[str, Callable[..., Any]]) -> None:
        self._own, self._stand_ins = own, stand_ins

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the package, empty."""
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Put the stand-ins in."""
        vars(module).update(self._stand_ins, _own_loader=self._own)


class _DeferringFinder(MetaPathFinder):
    """Finds the deferred packages where they are."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a deferred package's spec with a loader that waits; None for every other name."""
        if fullname not in DEFERRED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader, DEFERRED[fullname])
        return spec


def defer() -> None:
    """Let the packages wait, for the rest of this process's life; call it before torch is imported."""
    sys.meta_path.insert(0, _DeferringFinder())
