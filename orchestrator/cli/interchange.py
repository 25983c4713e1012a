"""Commands that exchange curve tables with other tools."""

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.app.exits import Exit
from orchestrator.cli.options import AsJson
from orchestrator.contracts import InputError

if TYPE_CHECKING:
    from orchestrator.app.interchange import Exchange


class Format(enum.StrEnum):
    """Formats of other tools."""

    SYNETUNE = "synetune"
    QTT = "qtt"
    OPTUNA = "optuna"


class Target(enum.StrEnum):
    """What is exported to: a format of another tool, or a root of our own in few bytes."""

    SYNETUNE = "synetune"
    QTT = "qtt"
    OPTUNA = "optuna"
    ROOT = "root"


class Direction(enum.StrEnum):
    """Which way a metric improves."""

    MINIMISE = "minimise"
    MAXIMISE = "maximise"


class Counts(enum.StrEnum):
    """What foreign seconds count."""

    CUMULATIVE = "cumulative"
    EPOCH = "epoch"
    TOTAL = "total"


Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; missing or empty.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what this command wrote there before.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        "import",
        epilog="Example: `foretune import synetune blackboxes/fcnet --metric metric_valid_loss "
        "--direction minimise --out runs/fcnet`",
    )(import_)
    app.command(epilog="Example: `foretune export runs/tiny-1800 optuna --out studies`")(export)


def import_(
    fmt: Annotated[Format, typer.Argument(metavar="FORMAT", help="synetune, qtt or optuna.")],
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Its folder; for optuna also a file or a storage's URL.")
    ],
    out: Out,
    metric: Annotated[str | None, typer.Option(help="What decides; left out: what SOURCE says.")] = None,
    direction: Annotated[
        Direction | None, typer.Option(help="Which way it improves, where SOURCE doesn't say.")
    ] = None,
    cost: Annotated[str | None, typer.Option(help="Column or attribute with the seconds.")] = None,
    cost_kind: Annotated[
        Counts | None,
        typer.Option(help="What they count: since the trial began, this epoch alone, or the whole trial."),
    ] = None,
    report: Annotated[
        list[str] | None, typer.Option(help="A further metric to keep; may be given again.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Meta-features; the first column names the tasks.")
    ] = None,
    space: Annotated[
        Path | None, typer.Option(metavar="JSON", help="The declared space, in ConfigSpace's form.")
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option(help="Only this study of Optuna; may be given again. Left out: all.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Read another tool's learning curves into a folder of tables, to learn from or to compare on."""
    from orchestrator.app.interchange import Foreign, import_tables, load_features, load_space
    from surrogates.interchange.records import CostKind, Reading

    reading = Reading(
        metric=metric,
        direction=None if direction is None else direction.value,
        cost=cost,
        cost_kind=None if cost_kind is None else CostKind(cost_kind.value),
        reports=tuple(report or ()),
        features=None if features is None else load_features(features),
        space=None if space is None else load_space(space),
    )
    return _say(import_tables(source, Foreign(fmt.value), out, reading, studies=study, force=force), as_json)


def export(
    source: Annotated[
        Path, typer.Argument(metavar="ROOT_OR_TABLES", help="A sweep's folder, or one of tables.")
    ],
    fmt: Annotated[
        Target,
        typer.Argument(
            metavar="FORMAT",
            help="synetune, qtt, optuna, or root: a copy of a sweep's root in few bytes, to be shared.",
        ),
    ],
    out: Out,
    metric: Annotated[
        str | None, typer.Option(help="What decides; left out: eval_loss, or what the tables say.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Write the learning curves of a sweep, or of tables, in another tool's format, or in a compact root."""
    from orchestrator.app.interchange import Foreign, export_root, export_tables

    if fmt is Target.ROOT:
        if metric is not None or force:
            raise InputError("--metric and --force are for other formats; a copied root keeps all metrics")
        return _say(export_root(source, out), as_json)
    return _say(export_tables(source, Foreign(fmt.value), out, metric=metric, force=force), as_json)


def _say(done: "Exchange", as_json: bool) -> int:
    typer.echo(json.dumps(done.as_dict(), indent=2) if as_json else done.render())
    return Exit.DONE
