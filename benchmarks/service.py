"""How long does the surrogate take to learn, to start again and to answer, and what do others take?

    python -m benchmarks.service [--tasks 8 --configs 225 --epochs 12 --seconds 10] [--planners N] [--peers]

Learns from a synthetic meta-dataset (made as in the tests), then asks distinct questions: in this process,
through the actor and through HTTP, by 1 and by 8 callers (processes of their own: threads of one would wait
for each other's lock), in a closed loop and with a pause between questions. With --peers: what Syne Tune and
Optuna take for one suggestion on the same past data. Prints a Markdown table; times in milliseconds, and as
multiples of the plan alone. An empty call, of an actor that returns as many bytes at once, is what Ray itself
takes: compare the rows of one run, since times vary with whatever else the machine does.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from cluster.connection import connected
from orchestrator.app.web import WebAddress, web_serving
from surrogates.data.store import write_tables
from surrogates.metadataset import MetaDataset
from surrogates.recommender import Recommender
from surrogates.serving.client import SurrogateClient
from surrogates.serving.http_client import HttpSurrogateClient
from surrogates.serving.service import SurrogateService
from surrogates.stepwise import Point, Problem
from tests.surrogates.synthetic import World, make

CALLERS = 8
ANSWER_BYTES = 7200
"""Of an answer with five choices."""
PAUSE_S = 0.25
"""Between two questions of a caller that thinks."""
Ask = Callable[[dict[str, float]], object]


_series = count()
"""Every series asks questions of its own, so that none is answered from memory."""


def features_of(number: int, series: int) -> dict[str, float]:
    rng = np.random.default_rng((series, number))
    return {"size": float(100 * np.exp(rng.normal(0, 0.7))), "hint": 3 + float(rng.normal()), "level": 1.0}


def timed(ask: Ask, *, seconds: float, pause_s: float, series: int) -> list[float]:
    """Ask distinct questions for some time; returns milliseconds, the first answers left out."""
    taken_ms: list[float] = []
    for number in range(3):
        ask(features_of(10**6 + number, series))
    end_s = time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < end_s:
        start_s = time.perf_counter()
        ask(features_of(number, series))
        taken_ms.append(1000 * (time.perf_counter() - start_s))
        number += 1
        time.sleep(pause_s)
    return taken_ms


def ask_by(client: SurrogateClient | HttpSurrogateClient) -> Ask:
    return lambda features: client.recommend(features, 200.0, k=5)


def row(name: str, taken_ms: Sequence[float], plan_ms: float, seconds: float | None = None) -> str:
    p50, p99 = np.percentile(taken_ms, [50, 99])
    rate = "" if seconds is None else f"{len(taken_ms) / seconds:.0f}"
    return f"| {name} | {len(taken_ms)} | {p50:.1f} | {p99:.1f} | {p50 / plan_ms:.2f} | {rate} |"


class Empty:
    """As the surrogate's actor, but for planning nothing."""

    def recommend(self, asked: dict[str, Any]) -> tuple[str, bytes]:
        return "plan", b"x" * ANSWER_BYTES


class Caller:
    """A process that asks, over a connection of its own."""

    def __init__(self, root: str, web: tuple[str, str], empty: Any) -> None:
        import ray  # not above: it would be set up before `cluster.connection` says how

        asked = {"budget_s": 200.0, "k": 5}
        call = empty.recommend.options(concurrency_group="planning")
        self._ways: dict[str, Ask] = {
            "an empty call of an actor": lambda features: ray.get(
                call.remote({**asked, "features": features})
            ),
            "actor": ask_by(SurrogateClient.connect(root)),
            "HTTP": ask_by(HttpSurrogateClient(*web)),
        }

    def ask(self, way: str, seconds: float, pause_s: float, series: int) -> list[float]:
        return timed(self._ways[way], seconds=seconds, pause_s=pause_s, series=series)


def serve_rows(root: Path, seconds: float, plan_ms: float, planners: int | None) -> list[str]:
    import ray

    rows = []
    with connected(None):
        client = SurrogateClient.serve(root, planners=planners)
        several = f"actor of {client.info()['planners']}"
        with web_serving(root, client, WebAddress(port=0)) as web:
            assert web is not None
            assert web.new_token is not None
            made: Any = ray.remote(num_cpus=0)(Caller)
            options: dict[str, Any] = {"num_cpus": 0, "concurrency_groups": {"planning": 1}}
            empty: Any = ray.remote(**options)(Empty).remote()
            callers = [made.remote(str(root), (web.url, web.new_token), empty) for _ in range(CALLERS)]
            ray.get([caller.ask.remote("actor", 0.0, 0.0, next(_series)) for caller in callers])
            for way in ("an empty call of an actor", "actor", "HTTP"):
                for few, pause_s in ((1, 0.0), (CALLERS, 0.0), (CALLERS, PAUSE_S)):
                    asked = [c.ask.remote(way, seconds, pause_s, next(_series)) for c in callers[:few]]
                    taken = [ms for done in ray.get(asked) for ms in done]
                    kind = f"{PAUSE_S:g} s between questions" if pause_s else "closed loop"
                    name = f"{several if way == 'actor' else way}, {few} caller{'s' * (few > 1)}, {kind}"
                    rows.append(row(name, taken, plan_ms, seconds))
        client.stop()
    return rows


def peer_rows(meta: MetaDataset, suggestions: int, plan_ms: float) -> list[str]:
    """What others take on the same past data for one suggestion, told their results so far."""
    from surrogates.baselines.synetune import SyneTuneQuantile, SyneTuneZeroShot
    from surrogates.baselines.tpe import Tpe

    target = meta.tasks[0]
    others = meta.without([target.task_id])
    candidates = tuple(meta.configs[key] for key in sorted(meta.configs))
    problem = Problem(
        features=target.features,
        candidates=candidates,
        budget_s=1e9,
        max_epochs=meta.max_epochs,
        direction=meta.direction,
    )
    rows = []
    for method in (SyneTuneZeroShot(), SyneTuneQuantile(), Tpe()):
        started_s = time.perf_counter()
        optimiser = method.learn(others, seed=0)(problem)
        learned_s = time.perf_counter() - started_s
        taken = []
        for number in range(suggestions):
            started_s = time.perf_counter()
            step = optimiser.ask()
            taken.append(1000 * (time.perf_counter() - started_s))
            if step is None:
                break
            points = [Point(epoch=step.epochs, value=1.0 + 0.01 * number, cost_s=1.0)]
            optimiser.tell(step, points, failed=False)
        name = f"{method.name}, a suggestion (learned and started in {learned_s:.1f} s)"
        rows.append(row(name, taken, plan_ms))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--configs", type=int, default=225)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--planners", type=int)
    parser.add_argument("--peers", action="store_true")
    chosen = parser.parse_args()
    meta = make(World(tasks=chosen.tasks, configs=chosen.configs, epochs=chosen.epochs))
    start_s = time.perf_counter()
    recommender = Recommender.fit(meta)
    fit_s = time.perf_counter() - start_s
    here = timed(
        lambda f: recommender.plan(f, 200.0, k=5), seconds=chosen.seconds, pause_s=0.0, series=next(_series)
    )
    plan_ms = float(np.median(here))
    rows = [row("`Recommender.plan`, in this process", here, plan_ms, chosen.seconds)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tables"
        write_tables(meta, root)
        start_s = time.perf_counter()
        service = SurrogateService(str(root))
        learn_s = time.perf_counter() - start_s
        start_s = time.perf_counter()
        restarted = SurrogateService(str(root))
        restart_s = time.perf_counter() - start_s
        asked = {"features": features_of(0, 0), "budget_s": 200.0, "k": 5}
        start_s = time.perf_counter()
        restarted.recommend(asked)
        cold_s = time.perf_counter() - start_s
        served = timed(
            lambda f: service.recommend({**asked, "features": f}),
            seconds=chosen.seconds,
            pause_s=0.0,
            series=next(_series),
        )
        rows.append(row("service without Ray: the same, and its JSON", served, plan_ms, chosen.seconds))
        again = []
        for _ in range(200):
            start_s = time.perf_counter()
            service.recommend(asked)
            again.append(1000 * (time.perf_counter() - start_s))
        rows.append(row("service without Ray, the same question again", again[1:], plan_ms))
        rows += serve_rows(root, chosen.seconds, plan_ms, chosen.planners)
    if chosen.peers:
        rows += peer_rows(meta, 40, plan_ms)
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{platform.processor() or platform.machine()}, {cores} cores, load {load:.1f}")
    print(
        f"{len(meta.trials)} trials, {len(meta.points)} points: fit {fit_s:.1f} s; learn in a process of its"
    )
    print(f"own, save and load {learn_s:.1f} s; start again from what was saved {1000 * restart_s:.0f} ms,")
    print(f"first answer after that {1000 * cold_s:.0f} ms\n")
    print("| what | n | p50 ms | p99 ms | p50 over the plan's | answers/s |\n|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
