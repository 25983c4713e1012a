"""Commands about tasks and the embedded base model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from orchestrator.app.exits import Exit
from orchestrator.cli.options import AsJson, parse_duration
from orchestrator.cli.screen import screen
from orchestrator.contracts import InputError

if TYPE_CHECKING:
    from orchestrator.app.documents_report import Price


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    generate = typer.Typer(help="Make synthetic question-answer tasks.", no_args_is_help=True)
    generate.command(epilog="Example: `foretune generate worlds --out runs/worlds --task towns --task laws`")(
        worlds
    )
    generate.command(
        epilog="Example: `foretune generate from-documents papers --endpoint http://localhost:8000/v1 "
        "--model Llama-3.1-70B-Instruct --out runs/tasks`"
    )(from_documents)
    generate.command(epilog="Example: `foretune generate prompts --out runs/prompts`")(prompts)
    app.add_typer(generate, name="generate")
    app.command(
        epilog="Example: `foretune pretrain --out runs/tiny-phi3`; an encoder-decoder: "
        "`foretune pretrain --out runs/bases/t5 --architecture t5 --layers 2 --steps 600`"
    )(pretrain)


def worlds(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for one JSONL file a task.")],
    seed: Annotated[int, typer.Option(help="Another seed invents other entities.")] = 0,
    task: Annotated[
        list[str] | None, typer.Option(help="Only this task; may be given again. Left out: all.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the built-in tasks about invented worlds: 12 wordings of every fact, 10/1/1 over the splits."""
    from orchestrator.app.generate import generate_worlds

    written = generate_worlds(out, seed=seed, names=task)
    if as_json:
        typer.echo(json.dumps([item.as_dict() for item in written], indent=2))
        return 0
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for column in ("task", "facts", "train", "validation", "test", "file"):
        table.add_column(column, justify="left" if column in ("task", "file") else "right")
    for item in written:
        counts = (str(item.facts), str(item.train), str(item.validation), str(item.test))
        table.add_row(item.name, *counts, str(item.path))
    screen().print(table)
    return 0


def from_documents(
    documents: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of text, Markdown and PDF files.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE_OR_DIR", help="The task's JSONL file, or a folder for it.")
    ],
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible endpoint, such as http://localhost:8000/v1."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which of its models to ask.")] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="Environment variable with the key; left out: none is sent."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the task; left out: the file's or DIR's.")] = None,
    prompts_dir: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="DIR", help="Own prompts; see `foretune generate prompts`."),
    ] = None,
    passage_chars: Annotated[int, typer.Option(help="Length of a passage at most.")] = 3000,
    facts_per_passage: Annotated[int, typer.Option(help="Facts of a passage at most.")] = 10,
    limit: Annotated[int | None, typer.Option(help="Only so many passages, from the first on.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 2048,
    concurrency: Annotated[int, typer.Option(help="Requests under way at a time.")] = 4,
    timeout: Annotated[str, typer.Option(help="Silence after which a request is repeated.")] = "2m",
    seed: Annotated[int, typer.Option(help="Sent to the endpoint; another seed asks everything anew.")] = 0,
    price: Annotated[
        str | None,
        typer.Option(
            "--price-per-million-tokens",
            metavar="IN,OUT",
            help="What the endpoint charges, to see the cost in money, such as 0.5,1.5.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count passages, requests and tokens; ask and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Make a task from documents through a language model: atomic facts, 12 questions on each, split 10/1/1.

    What interrupts this loses nothing: the same command goes on, and asks no answered question again.
    """
    from orchestrator.app.documents import generate_from_documents, preview_documents
    from workers.documents.recipe import RecipeSettings
    from workers.endpoint import EndpointSettings

    settings = RecipeSettings(
        passage_chars=passage_chars,
        facts_per_passage=facts_per_passage,
        max_tokens=max_tokens,
        most_passages=limit,
    )
    charged = None if price is None else _parse_price(price)
    if dry_run:
        preview = preview_documents(documents, settings=settings, prompts=prompts_dir, price=charged)
        typer.echo(json.dumps(preview.as_dict(), indent=2) if as_json else preview.render())
        return Exit.DONE
    if endpoint is None or model is None:
        raise InputError("name the model to ask with --endpoint URL and --model NAME, or say --dry-run")
    asked = EndpointSettings(
        url=endpoint,
        model=model,
        api_key_env=api_key_env,
        concurrency=concurrency,
        timeout_s=parse_duration(timeout, "--timeout"),
        seed=seed,
    )
    report = generate_from_documents(
        documents,
        out,
        asked,
        name=name,
        settings=settings,
        prompts=prompts_dir,
        price=charged,
        console=screen(quiet=as_json),
    )
    typer.echo(json.dumps(report.as_dict(), indent=2) if as_json else report.render())
    return Exit.DONE if report.is_done else Exit.STOPPED_EARLY


def _parse_price(text: str) -> "Price":
    from orchestrator.app.documents_report import Price

    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--price-per-million-tokens must be two numbers, of the prompt's and the answer's tokens, "
            f"such as 0.5,1.5; got {text!r}"
        ) from error
    return Price(prompt, completion)


def prompts(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")],
    as_json: AsJson = False,
) -> int:
    """Write the prompts of from-documents to files, to be edited and given to its --prompts."""
    from orchestrator.app.documents import write_prompts

    paths = [str(path) for path in write_prompts(out)]
    typer.echo(json.dumps(paths) if as_json else "\n".join(paths))
    return 0


def pretrain(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the model; an unfinished one is continued.")
    ],
    seed: Annotated[int, typer.Option(help="Seed of the weights, the world and the order of its text.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps; left out: those of the shipped model.")
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="phi3 or t5, an encoder-decoder; left out, here and below: as the shipped model."),
    ] = None,
    hidden_size: Annotated[int | None, typer.Option(min=1, help="Width.")] = None,
    intermediate_size: Annotated[int | None, typer.Option(min=1, help="Width inside of the MLPs.")] = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Layers; of an encoder-decoder on each side.")
    ] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Attention heads.")] = None,
    as_json: AsJson = False,
) -> int:
    """Make the embedded base model anew, or another: pretrained on text about invented worlds."""
    from orchestrator.app.pretrain import pretrain_base

    changes = {
        "steps": steps,
        "architecture": architecture,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "layers": layers,
        "heads": heads,
    }
    report = pretrain_base(out, seed=seed, changes=changes, console=screen(quiet=as_json))
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    return 0
