"""Single weights of a base model, read from its safetensors files without loading the model."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from orchestrator.contracts import InvalidConfigError
from workers.models.location import ModelLocation

_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def read_weights(location: ModelLocation, names: Iterable[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Read weights one by one.

    Args:
        location: Of the model.
        names: As its modules are called, such as ``model.layers.0.mlp.down_proj.weight``.

    Yields:
        Name and weight, file by file, as saved.

    Raises:
        InvalidConfigError: The files hold no weight of a name.
    """
    wanted = set(names)
    for path in _files(location, wanted):
        with safe_open(path, framework="pt") as stream:
            for name in sorted(wanted & set(stream.keys())):
                yield name, stream.get_tensor(name)
                wanted.remove(name)
    if wanted:
        raise InvalidConfigError(
            f"base model {location.name!r} has no weights called {min(wanted)!r} in its files, as "
            "init_lora_weights = loftq needs them; take another initialisation"
        )


def _files(location: ModelLocation, wanted: set[str]) -> list[Path]:
    """Return the safetensors files that hold the wanted weights."""
    index = _path(location, _INDEX)
    if index is None:
        single = _path(location, _ONE)
        return [] if single is None else [single]
    holders = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    shards = sorted({holders[name] for name in wanted if name in holders})
    return [path for path in (_path(location, shard) for shard in shards) if path is not None]


def _path(location: ModelLocation, name: str) -> Path | None:
    """Return a model file's path: in its folder, or in the hub's cache, where loading the model put it."""
    if location.revision is None:
        path = Path(location.path_or_id) / name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(location.path_or_id, name, revision=location.revision)
    return Path(cached) if isinstance(cached, str) else None
