"""Fitted objects as JSON, arrays and tables, and back: what a state on disk is made of.

Nothing is unpickled, and reading runs no code of the file's choice: a class is named by its module and name,
must be one of this package's own, and is filled attribute by attribute without being called. Whatever is not
on the list below is refused when it is saved, with the path to it.

| value | in JSON |
|---|---|
| None, bool, int, str, finite float | itself |
| other float | ``{"float": "nan"}`` |
| list, tuple, set, frozen set | ``{"list": [...]}`` and so on |
| dict, ordered dict | ``{"dict": [[key, value], ...]}`` and so on |
| numpy number | ``{"number": [dtype, value]}`` |
| numpy array of numbers | ``{"array": name}``, in the file of arrays |
| pandas frame | ``{"frame": number}``, a Parquet file each |
| enum | ``{"enum": [class, value]}`` |
| LightGBM's booster, a ConfigSpace | ``{"trees": text}``, ``{"configspace": object}`` |
| lock | ``{"lock": null}``: a new one is made |
| other object of this package | ``{"object": [class, [[attribute, value], ...]]}`` |

What is met a second time is ``{"same": n}``: the n-th of the arrays, frames and objects so far.
"""

import enum
import importlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from ConfigSpace import ConfigurationSpace
from numpy.typing import NDArray

_PACKAGE = "surrogates"
"""Classes of other packages are neither saved nor made."""
_LOCK = type(threading.Lock())
_GATHERED: Mapping[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_PAIRED: Mapping[str, type[dict[Any, Any]]] = {"dict": dict, "ordered": OrderedDict}


class UnsavableError(TypeError):
    """An attribute holds something that a state can't: a fault of ours."""


class UnreadableError(ValueError):
    """What is read is no state that was written by ``Writer``."""


class Writer:
    """Turns one object, and all that hangs on it, into JSON; what JSON can't hold is kept beside it."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.frames: list[pd.DataFrame] = []
        self._places: dict[int, int] = {}
        self._kept: list[object] = []  # so that no id is given twice while this writes

    def write(self, value: object, path: str) -> Any:
        """Return a value's JSON.

        Args:
            value: The value.
            path: What it is called in an error.

        Returns:
            What ``json.dumps`` takes and ``Reader.read`` turns back.

        Raises:
            UnsavableError: It, or something in it, is not on the list.
        """
        if isinstance(value, enum.Enum):
            return {"enum": [_class_name(value, path), value.value]}
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, np.generic):
            return {"number": [value.dtype.str, self.write(value.item(), path)]}
        for name, kind in (*_PAIRED.items(), *_GATHERED.items()):
            if type(value) is kind:
                return {name: self._items(value, path)}
        if type(value) is _LOCK:
            return {"lock": None}
        if id(value) in self._places:
            return {"same": self._places[id(value)]}
        self._places[id(value)] = len(self._places)
        self._kept.append(value)
        return self._shared(value, path)

    def _items(self, value: Any, path: str) -> list[Any]:
        if isinstance(value, dict):
            return [
                [self.write(key, path), self.write(item, f"{path}[{key!r}]")] for key, item in value.items()
            ]
        return [self.write(item, f"{path}[{place}]") for place, item in enumerate(value)]

    def _shared(self, value: object, path: str) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biuf":
                raise UnsavableError(f"{path}: an array of {value.dtype} can't be saved; keep numbers in it")
            name = f"a{len(self.arrays)}"
            self.arrays[name] = value
            return {"array": name}
        if isinstance(value, pd.DataFrame):
            self.frames.append(value)
            return {"frame": len(self.frames) - 1}
        if isinstance(value, lightgbm.Booster):
            return {"trees": value.model_to_string(num_iteration=-1)}
        if isinstance(value, ConfigurationSpace):
            return {"configspace": value.to_serialized_dict()}
        name = _class_name(value, path)
        attributes = _attributes(value)
        return {
            "object": [name, [[key, self.write(item, f"{path}.{key}")] for key, item in attributes.items()]]
        }


class Reader:
    """Turns back what a ``Writer`` wrote.

    Args:
        arrays: As the writer kept them.
        frames: As the writer kept them.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], frames: list[pd.DataFrame]) -> None:
        self._arrays, self._frames = arrays, frames
        self._seen: list[object] = []

    def read(self, content: Any) -> Any:
        """Return the value.

        Args:
            content: Its JSON.

        Returns:
            The value.

        Raises:
            UnreadableError: It is not what a writer writes.
        """
        if content is None or isinstance(content, bool | int | float | str):
            return content
        if not (isinstance(content, dict) and len(content) == 1):
            raise UnreadableError("a value without its kind")
        ((kind, held),) = content.items()
        if kind in _GATHERED:
            return _GATHERED[kind]([self.read(item) for item in held])
        if kind in _PAIRED:
            return _PAIRED[kind]((self.read(key), self.read(item)) for key, item in held)
        plain = getattr(self, f"_read_{kind}", None)
        if plain is None:
            raise UnreadableError(f"an unknown kind of value, {kind!r}")
        return plain(held)

    def _read_float(self, text: str) -> float:
        return float(text)

    def _read_number(self, held: list[Any]) -> Any:
        return np.dtype(held[0]).type(self.read(held[1]))

    def _read_enum(self, held: list[Any]) -> Any:
        found = _class_of(held[0])
        if not issubclass(found, enum.Enum):
            raise UnreadableError(f"{held[0]} is no enum")
        return found(held[1])

    def _read_lock(self, held: None) -> object:
        return threading.Lock()

    def _read_same(self, place: int) -> object:
        return self._seen[place]

    def _read_array(self, name: str) -> object:
        return self._keep(self._arrays[name])

    def _read_frame(self, place: int) -> object:
        return self._keep(self._frames[place])

    def _read_trees(self, text: str) -> object:
        return self._keep(lightgbm.Booster(model_str=text))

    def _read_configspace(self, content: dict[str, Any]) -> object:
        return self._keep(ConfigurationSpace.from_serialized_dict(content))

    def _read_object(self, held: list[Any]) -> object:
        found = _class_of(held[0])
        made = self._keep(object.__new__(found))
        for name, content in held[1]:
            object.__setattr__(made, name, self.read(content))
        return made

    def _keep(self, value: object) -> object:
        self._seen.append(value)
        return value


def _attributes(value: object) -> dict[str, Any]:
    """Return all that an object holds, whether in slots or in its dictionary."""
    slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return held | getattr(value, "__dict__", {})


def _slots(kind: type) -> list[str]:
    declared = kind.__dict__.get("__slots__", ())
    names = [declared] if isinstance(declared, str) else list(declared)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _class_name(value: object, path: str) -> str:
    kind = type(value)
    name = f"{kind.__module__}:{kind.__qualname__}"
    if not kind.__module__.startswith(f"{_PACKAGE}.") or "<" in kind.__qualname__:
        raise UnsavableError(
            f"{path}: {name} can't be saved; hold numbers, arrays, frames and objects of this package only"
        )
    return name


def _class_of(name: str) -> type[Any]:
    module, _, qualified = name.partition(":")
    if not module.startswith(f"{_PACKAGE}."):
        raise UnreadableError(f"{name} is no class of {_PACKAGE}")
    try:
        found: Any = importlib.import_module(module)
        for part in qualified.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as err:
        raise UnreadableError(f"there is no {name} any more") from err
    if not isinstance(found, type) or found.__module__ != module:
        raise UnreadableError(f"{name} is no class")
    return found
