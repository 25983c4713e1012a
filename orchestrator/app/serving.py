"""A surrogate actor that other processes find: where it answers stands beside what it learned from."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.connection import connected
from orchestrator.app.endpoints import Endpoint
from orchestrator.app.roots import learnable_spec
from orchestrator.app.signals import stop_signals
from orchestrator.app.web import WebAddress, web_serving
from orchestrator.metadataset.durable import make_folder_durably, write_durably
from orchestrator.metadataset.layout import RootLayout
from surrogates.data.store import is_tables
from surrogates.serving.client import SurrogateClient
from surrogates.serving.service import Following


@contextmanager
def serving(
    root: Path,
    *,
    address: str | None = None,
    following: Following | None = None,
    planners: int | None = None,
) -> Iterator[SurrogateClient]:
    """Start the surrogate actor of a root; leaving ends it where its cluster is embedded, else it stays.

    Args:
        root: The sweep, or the folder of tables, to learn from.
        address: A running Ray cluster; None: an embedded one.
        following: When it learns from a growing root again.
        planners: Processes that plan; None: one a core, at most four.

    Yields:
        A client.

    Raises:
        InputError: The root holds neither, or no cluster answers.
        NothingLearnedError: There is no finished trial yet.
    """
    if not is_tables(root):
        learnable_spec(root)
    root = root.absolute()
    layout = RootLayout(root)
    with connected(address) as connection:
        client = SurrogateClient.serve(root, following=following, planners=planners)
        endpoint = Endpoint(address=connection.address, pid=os.getpid())
        make_folder_durably(layout.surrogate_dir)
        write_durably(layout.endpoint_json, json.dumps(asdict(endpoint)).encode())
        try:
            yield client
        finally:
            if connection.is_embedded:
                layout.endpoint_json.unlink(missing_ok=True)


def serve_until_interrupted(
    root: Path,
    *,
    address: str | None,
    console: Console,
    as_json: bool = False,
    following: Following | None = None,
    planners: int | None = None,
    web: WebAddress | None = None,
) -> None:
    """Serve from this process until a signal ends it; on a given cluster, and without HTTP, return at once.

    Args:
        root: The sweep, or the folder of tables, to learn from.
        address: A running Ray cluster; None: an embedded one.
        console: Where it is said how to ask.
        as_json: Say it as one line of JSON instead.
        following: When it learns from a growing root again.
        planners: Processes that plan; None: one a core, at most four.
        web: Where to answer by HTTP too; None: nowhere.

    Raises:
        InputError: As ``serving``, or the web address can't be listened at.
        NothingLearnedError: As ``serving``.
    """
    with (
        serving(root, address=address, following=following, planners=planners) as client,
        stop_signals() as stop,
    ):
        stays = address is None or web is not None
        with web_serving(root, client, web) as http:
            info = client.info()
            told = (
                info
                if http is None
                else {**info, "http": {"url": http.url, "token_file": str(http.token_file)}}
            )
            if as_json:
                console.print(json.dumps(told), soft_wrap=True, highlight=False, markup=False)
            else:
                console.print(render_info(info))
                how = f"foretune recommend TASK --budget 60s --root {root}"
                if is_tables(root):
                    how = f"foretune recommend --features FILE.json --budget 60s --root {root}"
                console.print(f"Ask it: {how}", soft_wrap=True, highlight=False, markup=False)
                if http is not None:
                    console.print(http.render(), soft_wrap=True, highlight=False, markup=False)
                if stays:
                    console.print(
                        "Ctrl-C ends it." if address is None else "Ctrl-C ends HTTP; the actor stays."
                    )
            if stays:
                wait_for(stop)


def render_info(info: dict[str, Any]) -> RenderableType:
    """Return what a surrogate says about itself, for people."""
    table = Table.grid(padding=(0, 2))
    following = info["following"]
    rows = {
        "learned from": f"{info['tasks']} tasks, {info['trials']} trials, {info['points']} points",
        "answers with": f"version {info['version']}, learned {info['learned_at']} in {info['fit_s']:.1f} s",
        "predicts": str(info["metric"]),
        "plans in": f"{info['planners']} process{'es' * (info['planners'] > 1)}",
        "follows": f"looks every {following['every_s']:g} s, learns again when there is "
        f"{following['growth']:.0%} more, at least {following['apart_s']:g} s apart",
    }
    if info["last_refit"] is not None:
        verdict = info["last_refit"]["verdict"]
        rows["last learning"] = f"{'taken' if verdict['accepted'] else 'NOT taken'}: {verdict['reason']}"
    if info["error"] is not None:
        rows["last error"] = "; ".join(info["error"]["fields"])
    for name, said in rows.items():
        table.add_row(name, said)
    return Group(Text(f"The surrogate of {info['root']} is up (process {info['pid']})"), table)


def wait_for(stop: threading.Event) -> None:
    """Wait for an event in a way that lets signal handlers run."""
    while not stop.wait(timeout=1.0):
        pass
