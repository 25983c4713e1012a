"""Commands about what has been learned."""

import enum
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.options import Address, AsJson, parse_budget, parse_duration
from orchestrator.cli.screen import screen
from orchestrator.cli.values import parse_excluded, parse_fixed, parse_size
from orchestrator.contracts import InputError


class Format(enum.StrEnum):
    """How the best single choice is printed."""

    PEFT = "peft"
    AXOLOTL = "axolotl"
    LLAMAFACTORY = "llamafactory"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: `foretune serve runs/tiny-1800`")(serve)
    app.command(epilog="Example: `foretune recommend mytask.jsonl --budget 60s --root runs/tiny-1800`")(
        recommend
    )


def serve(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="A sweep's folder, or a folder of tables.")],
    address: Address = None,
    http: Annotated[bool, typer.Option("--http", help="Answer by HTTP too, on loopback.")] = False,
    host: Annotated[
        str, typer.Option(help="Listen there; reachable from elsewhere only with --token-file.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8742,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds the token that callers must have; left out: one is made and told once.",
        ),
    ] = None,
    every: Annotated[str, typer.Option(help="Look at ROOT so often for new trials.")] = "5s",
    growth: Annotated[
        float, typer.Option(min=0.0, help="Learn again when there are so many more, as a share.")
    ] = 0.1,
    apart: Annotated[str, typer.Option(help="Learn again no sooner than this after the last time.")] = "30s",
    planners: Annotated[
        int | None,
        typer.Option(min=1, max=4, help="Processes that plan; left out: one a core of the node, at most 4."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Start the surrogate actor for a sweep or for tables: named, detached, asked by `recommend`.

    It follows ROOT as it grows. On an embedded Ray it lives as long as this command, until Ctrl-C; on a given
    cluster it stays when this returns.
    """
    from orchestrator.app.serving import serve_until_interrupted
    from orchestrator.app.web import WebAddress
    from surrogates.serving.service import Following

    serve_until_interrupted(
        root,
        address=address,
        console=screen(),
        as_json=as_json,
        following=Following(
            every_s=parse_duration(every, "--every"),
            growth=growth,
            apart_s=parse_duration(apart, "--apart"),
        ),
        planners=planners,
        web=WebAddress(host=host, port=port, token_file=token_file) if http else None,
    )
    return 0


def recommend(
    context: typer.Context,
    budget: Annotated[str, typer.Option(help="What may be spent on training, such as 60s, 45m or 5h.")],
    task: Annotated[
        str | None,
        typer.Argument(metavar="[TASK]", help="A task's file, `worlds:NAME` or `hf:DATASET`."),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Learn from this sweep, or with --features from tables; left out: the newest under ./runs, "
            "or the meta-dataset that ships.",
        ),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="What will be finetuned; for another model than the sweep's: published defaults only.",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="The task's meta-features, instead of TASK; for a folder of tables."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="At most so many choices.")] = 5,
    fixed: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Every choice must have this.")
    ] = None,
    excluded: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="NAME=VALUE[,VALUE]", help="No choice may have any of these."),
    ] = None,
    gpu_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Leave out what can't fit a GPU of, say, 24GB.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="What will train; said where costs may differ there.")
    ] = None,
    speed_factor: Annotated[
        float, typer.Option(help="How many times faster that is than the devices on record.")
    ] = 1.0,
    fmt: Annotated[
        Format | None, typer.Option("--format", help="Print the best single choice for this library.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say how to finetune on a new task: a plan under a budget, with scores, costs and what they rest on."""
    budget_s = parse_budget(budget)
    demanded = (parse_fixed(fixed or ()), parse_excluded(excluded or ()))
    memory_bytes = None if gpu_memory is None else parse_size(gpu_memory, "--gpu-memory")
    _refuse_unclear(task, features, root, fmt, base_model)
    from orchestrator.app.advice import Advice, TableAdvice, defaults_for_other_base, recommend_by_features
    from orchestrator.app.advice import recommend as ask
    from orchestrator.app.constraints import Constraints
    from orchestrator.app.published import PublishedDefaults

    constraints = Constraints(
        fixed=demanded[0],
        excluded=demanded[1],
        gpu_memory_bytes=memory_bytes,
        device=device,
        speed_factor=speed_factor,
    )
    advice: Advice | TableAdvice | PublishedDefaults | None = None
    if base_model is not None and task is not None:
        advice = defaults_for_other_base(task, base_model, root=root)
    if advice is not None:
        pass
    elif features is not None and root is not None:
        advice = recommend_by_features(features, budget_s, root=root, k=k, constraints=constraints)
    else:
        advice = ask(str(task), budget_s, root=root, k=k, constraints=constraints, standby=context.obj)
    if isinstance(advice, Advice | PublishedDefaults) and fmt is not None:
        typer.echo(_best_choice(advice.as_peft(), fmt))
    elif as_json:
        typer.echo(json.dumps(advice.as_dict(), indent=2))
    else:
        screen().print(advice.render())
    return 0


def _best_choice(told: dict[str, Any], fmt: Format) -> str:
    """Return what ``as_peft`` told in a library's own form."""
    if fmt is Format.PEFT:
        return json.dumps(told, indent=2)
    from orchestrator.app.trainer_formats import as_axolotl, as_llamafactory

    return (as_axolotl if fmt is Format.AXOLOTL else as_llamafactory)(told).rstrip()


def _refuse_unclear(
    task: str | None, features: Path | None, root: Path | None, fmt: Format | None, base_model: str | None
) -> None:
    if (task is None) == (features is None):
        raise InputError("name a TASK, or give its meta-features with --features FILE.json; one of the two")
    if features is not None and root is None:
        raise InputError("--features needs --root DIR: the folder of tables, or the sweep, to learn from")
    if features is not None and base_model is not None:
        raise InputError("--base-model needs a TASK; the tables that --features asks know of no base model")
    if features is not None and fmt is not None:
        raise InputError(f"--format {fmt} needs a TASK and its base model; with --features leave it out")
