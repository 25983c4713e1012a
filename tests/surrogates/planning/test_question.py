"""The fast answer is the plain one: same configs, epochs and order, numbers equal but for rounding."""

import math
from typing import Any

import numpy as np
import pytest

from orchestrator.contracts import InputError
from surrogates.planning.question import Question
from surrogates.recommender import Recommender
from tests.surrogates.planning.plain_question import PlainPool, PlainQuestion
from tests.surrogates.synthetic import World, make

WORLDS = {
    "as ever": World(tasks=6, configs=60, epochs=4),
    "tasks ran different configs": World(tasks=5, configs=40, epochs=3, shared=False, seed=3),
    "meta-features tell nothing": World(tasks=6, configs=30, epochs=10, informative=False, seed=5),
    "one past task": World(tasks=1, configs=40, epochs=3),
}


def assert_alike(fast: Any, plain: Any, path: str) -> None:
    if isinstance(plain, dict):
        assert list(fast) == list(plain), path
        for key, value in plain.items():
            assert_alike(fast[key], value, f"{path}.{key}")
    elif isinstance(plain, list):
        assert len(fast) == len(plain), path
        for place, value in enumerate(plain):
            assert_alike(fast[place], value, f"{path}[{place}]")
    elif isinstance(plain, float):
        assert math.isclose(fast, plain, rel_tol=1e-9, abs_tol=1e-9), path
    else:
        assert (type(fast), fast) == (type(plain), plain), path


def drawn_features(rng: np.random.Generator) -> dict[str, float]:
    """A task's meta-features, some missing, now and then one that no past task came near."""
    features = {
        "size": float(100 * np.exp(rng.normal(0, 0.7))),
        "hint": 40.0 if rng.random() < 0.1 else 3 + float(rng.normal()),
        "noise": float(rng.normal()),
        "level": float(rng.uniform(0.2, 2.0)),
    }
    return {name: value for name, value in features.items() if rng.random() < 0.8}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_fast_answer_is_the_plain_one(world: World) -> None:
    learned = Recommender.fit(make(world))
    pools = [learned.pool, learned.maker.given(learned.pool.configs[::3])]
    plain = [PlainPool(learned, pool) for pool in pools]
    rng = np.random.default_rng(7)
    for number in range(60):
        features, most = drawn_features(rng), int(rng.choice([1, 3, 5, 40]))
        budget_s = float(np.exp(rng.uniform(np.log(30), np.log(30_000))))
        which = number % 5 == 0
        try:
            told = PlainQuestion(plain[which], features).plan(budget_s, most)
        except InputError:
            with pytest.raises(InputError):
                Question(learned, features, pools[which]).plan(budget_s, most)
            continue
        fast = Question(learned, features, pools[which]).plan(budget_s, most)
        assert_alike(fast.as_dict(), told.as_dict(), f"question {number}")
