"""Meta-datasets with a known structure: the best learning rate moves with a latent factor of the task."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from surrogates.data.space import Space
from surrogates.metadataset import MetaDataset

SPACE: dict[str, Any] = {
    "lr": {"min": 1e-5, "max": 1e-1, "log": True, "default": 1e-3},
    "rank": [4, 8, 16, 32],
    "optim": ["adamw", "lion", "sgd"],
    "momentum": {"min": 0.0, "max": 0.99, "when": {"optim": ["sgd"]}},
    "rslora": [False, True],
    "dropout": {"min": 0.0, "max": 0.2},
    "version": 3,
}


@dataclass(frozen=True, kw_only=True)
class World:
    """How the tasks are made."""

    tasks: int = 8
    configs: int = 60
    epochs: int = 6
    seed: int = 0
    informative: bool = True
    """Whether the meta-features tell the latent factor; otherwise they are noise."""
    strength: float = 1.0
    """How far the best learning rate moves with the latent factor, in decades."""
    noise: float = 0.05
    shared: bool = True
    """Whether all tasks ran the same configs."""


def frames(world: World) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Curves, configs and tasks."""
    rng = np.random.default_rng(world.seed)
    space = Space(SPACE)
    pools = [
        space.sample(world.configs, seed=world.seed + (0 if world.shared else t)) for t in range(world.tasks)
    ]
    curves, configs, tasks = [], {}, []
    for t, pool in enumerate(pools):
        latent = rng.uniform(-1.5, 1.5)
        size = float(np.exp(rng.normal(0.0, 0.7)))
        level = rng.uniform(0.2, 2.0)
        told = latent if world.informative else rng.normal()
        tasks.append(
            {
                "task_id": f"t{t}",
                "name": f"task {t}",
                "size": 100.0 * size,
                "hint": 3.0 + told + 0.05 * rng.normal(),
                "noise": rng.normal(),
                "level": level,
            }
        )
        for c, config in enumerate(pool):
            config_id = f"c{c}" if world.shared else f"c{t}-{c}"
            configs[config_id] = {"config_id": config_id, **config}
            curves += _curve(world, rng, f"t{t}", config_id, config, latent, size, level)
    return pd.DataFrame(curves), pd.DataFrame(list(configs.values())), pd.DataFrame(tasks)


def make(world: World | None = None) -> MetaDataset:
    """The meta-dataset of a world."""
    curves, configs, tasks = frames(world or World())
    return MetaDataset.from_frames(
        curves,
        configs,
        tasks,
        space=SPACE,
        metric="loss",
        direction="minimise",
        cost="seconds",
        reports=("accuracy",),
    )


def _curve(
    world: World,
    rng: np.random.Generator,
    task_id: str,
    config_id: str,
    config: dict[str, Any],
    latent: float,
    size: float,
    level: float,
) -> list[dict[str, Any]]:
    offset = {"adamw": 0.0, "lion": -0.8, "sgd": 1.0}[config["optim"]]
    gap = np.log10(config["lr"]) + 3.0 - offset - world.strength * latent
    floor = 0.35 * gap**2 + 0.1 * abs(np.log2(config["rank"] / 16)) + 0.6 * config["dropout"]
    floor += 0.3 * (1.0 - config.get("momentum", 0.9)) + (0.0 if config["rslora"] else 0.05)
    diverges = gap > 1.8
    rows = []
    for epoch in range(1, world.epochs + 1):
        loss = level * np.exp(floor + 1.2 * np.exp(-epoch / 2.0) + world.noise * rng.normal())
        seconds = (
            0.5
            * size
            * (1.0 + config["rank"] / 32 + (config["optim"] != "sgd"))
            * np.exp(0.05 * rng.normal())
        )
        broken = diverges and epoch >= 2
        rows.append(
            {
                "task_id": task_id,
                "config_id": config_id,
                "epoch": epoch,
                "loss": np.nan if broken else loss,
                "accuracy": 0.0 if broken else float(np.exp(-loss / level / 3.0)),
                "seconds": seconds,
            }
        )
        if broken:
            break
    return rows
