"""The command that compares ours with every baseline."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli.options import AsJson
from orchestrator.cli.screen import screen
from orchestrator.contracts import InputError

if TYPE_CHECKING:
    from orchestrator.app.evaluation_results import Evaluation
    from orchestrator.app.live.results import LiveComparison


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    examples = (
        "Example: `foretune evaluate runs/tiny-1800 --budgets 1,3,10 --seeds 3`; by finetuning: "
        "`foretune evaluate runs/tiny-1800 --live 'worlds:towns?seed=7' --seeds 1`; on another base model's "
        "trials: `foretune evaluate runs/tiny-1800 --on runs/tiny-t5`"
    )
    app.command(epilog=examples)(evaluate)


def evaluate(
    root: Annotated[
        Path, typer.Argument(metavar="ROOT", help="A sweep's folder, or one of tables as `import` writes it.")
    ],
    on: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER_ROOT",
            help="Learn from ROOT and replay the tasks of this one, such as trials of another base model; "
            "a task of both is left out of what is learned.",
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="What decides; left out: `eval_loss`, or what the tables say.")
    ] = None,
    budgets: Annotated[
        str, typer.Option(metavar="X,X,...", help="Multiples of each task's median cost of a full run.")
    ] = "1,3,10",
    seeds: Annotated[int, typer.Option(help="How often each method is run on each task.")] = 3,
    methods: Annotated[
        str | None, typer.Option(metavar="NAME,NAME,...", help="Left out: all that can run here.")
    ] = None,
    ablations: Annotated[
        bool,
        typer.Option("--ablations", help="Also run ours without each of its parts, or with less to learn."),
    ] = False,
    own_time: Annotated[
        bool, typer.Option(help="Whether the methods' own seconds count in what is printed.")
    ] = True,
    live: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK", help="Finetune on this new task instead of replaying; more than one may be given."
        ),
    ] = None,
    fresh: Annotated[
        int, typer.Option(help="With --live: so many draws of the space are candidates, too.")
    ] = 0,
    share: Annotated[
        bool, typer.Option(help="With --live: train once what several methods ask for; all are charged.")
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where results go; left out: ROOT/evaluation, OTHER_ROOT/transfer or ROOT/live.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes, 1 or 2.")] = 1,
    as_json: AsJson = False,
) -> int:
    """Compare ours with every baseline: leave one task out in turn, replay its recorded curves.

    With --on methods learn from all of ROOT and are replayed on the tasks of another root.
    With --live nothing is replayed: every method finetunes on new tasks, under the same budgets, and chooses
    among the configs on record. What is done is kept; the same command goes on where it was interrupted.
    """
    multiples = _multiples(budgets)
    from orchestrator.app.evaluate import Protocol
    from orchestrator.app.evaluate import evaluate as compare

    protocol = Protocol(
        budgets=multiples,
        seeds=seeds,
        methods=tuple(name.strip() for name in methods.split(",")) if methods else (),
        ablations=ablations,
        own_time=own_time,
        jobs=jobs,
    )
    console = screen(quiet=as_json)
    if not live and (fresh or not share):
        raise InputError("--fresh and --no-share are for finetuning: name a new task with --live TASK")
    if live and on is not None:
        raise InputError("--live finetunes and --on replays; leave one of them out")
    if live and metric not in (None, "eval_loss"):
        raise InputError(f"with --live eval_loss decides, not {metric}; leave --metric out")
    results: Evaluation | LiveComparison
    try:
        if live:
            from orchestrator.app.live.comparison import LiveProtocol, compare_live

            how = LiveProtocol(how=protocol, fresh=fresh, shares=share)
            results = compare_live(root, live, protocol=how, out=out, say=console.print)
        else:
            results = compare(root, on=on, metric=metric, protocol=protocol, out=out, say=console.print)
    except KeyboardInterrupt:
        typer.echo("foretune: interrupted; what is done is kept, the same command goes on", err=True)
        return Exit.INTERRUPTED
    if as_json:
        typer.echo(json.dumps(results.as_dict(), indent=2))
    else:
        console.print(results.render())
    return 0


def _multiples(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as err:
        raise InputError(f"--budgets must be numbers between commas, such as 1,3,10; got {text!r}") from err
