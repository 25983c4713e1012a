"""Making a task from a folder of documents, through a language model behind an endpoint.

Beside the task, ``NAME.jsonl``, stands the folder ``NAME.generation``: every answer of the model, so that the
same call goes on from whatever interrupted it; the facts, and where they come from; what was rejected and
why; and a report of the cost.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from orchestrator.app.documents_report import DocumentsPreview, DocumentsReport, Price
from orchestrator.app.generate import WrittenTask
from orchestrator.app.generation_progress import GenerationProgress
from orchestrator.app.signals import stop_signals
from orchestrator.contracts import InputError
from orchestrator.metadataset.durable import make_folder_durably, write_durably
from orchestrator.metadataset.lock import RootLock
from workers.documents.asking import Asker, AskingStoppedError
from workers.documents.estimates import estimate
from workers.documents.journal import Journal
from workers.documents.passages import Passage
from workers.documents.reading import Shelf, read_folder
from workers.documents.recipe import PROMPTS, Cooked, Recipe, RecipeSettings
from workers.endpoint import ChatClient, EndpointSettings, EndpointUnavailableError
from workers.prompts import shipped_prompt
from workers.tasks.loading import save_task

_TASK_ENDINGS = (".jsonl", ".ndjson")
_OTHER_ENDINGS = (".json", ".csv", ".tsv", ".parquet")


def preview_documents(
    documents: Path,
    *,
    settings: RecipeSettings | None = None,
    prompts: Path | None = None,
    price: Price | None = None,
) -> DocumentsPreview:
    """Read and cut documents, and estimate what asking about them will cost; writes and asks nothing.

    Args:
        documents: Their folder.
        settings: Of the recipe; None: its defaults.
        prompts: Folder of prompts in place of those shipped.
        price: Of the tokens.

    Returns:
        The preview.

    Raises:
        InputError: The documents or the prompts can't be used.
    """
    chosen = settings or RecipeSettings()
    recipe = Recipe(chosen, prompts=prompts)
    shelf, passages = _read(documents, recipe)
    at_most = estimate(passages, chosen, recipe.prompts)
    return DocumentsPreview(
        documents=len(shelf.documents),
        unread=shelf.unread,
        ignored_files=shelf.ignored,
        facts_per_passage=chosen.facts_per_passage,
        at_most=at_most,
        money_at_most=None if price is None else price.of(at_most.prompt_tokens, at_most.completion_tokens),
    )


def generate_from_documents(
    documents: Path,
    out: Path,
    endpoint: EndpointSettings,
    *,
    name: str | None = None,
    settings: RecipeSettings | None = None,
    prompts: Path | None = None,
    price: Price | None = None,
    console: Console | None = None,
) -> DocumentsReport:
    """Make a task from documents, or continue where an earlier call was interrupted.

    Args:
        documents: Folder of text, Markdown and PDF files.
        out: The task's file, named ``.jsonl``, or a folder for it.
        endpoint: The model that is asked, and how.
        name: What to call the task; None: after the file, or after the documents' folder.
        settings: Of the recipe; None: its defaults.
        prompts: Folder of prompts in place of those shipped.
        price: Of the tokens.
        console: Where progress is shown; None: nowhere.

    Returns:
        The report; it says why there is no task if SIGINT, SIGTERM or the endpoint ended it early.

    Raises:
        InputError: Something given can't be used: nothing was asked then; or the endpoint refuses the key or
            the model; or nothing of the documents came through.
        RootInUseError: Another process makes this task.
    """
    start_s = time.monotonic()
    recipe = Recipe(settings or RecipeSettings(), prompts=prompts)
    shelf, passages = _read(documents, recipe)
    path = _task_path(out, name or documents.resolve().name)
    ChatClient(endpoint).check()
    with _claim(path, documents) as folder, stop_signals() as stop:
        display = GenerationProgress(console or Console(quiet=True), stop)
        client = ChatClient(endpoint, pause=stop.wait)
        asker = Asker(
            client, Journal(folder / "answers"), stop=stop, tick=lambda: display.show(asker.progress)
        )
        try:
            task, stopped_by = _cook(recipe, name or path.stem, passages, asker, path, folder)
        finally:
            display.end(asker.progress)
        cost = asker.progress.usage
        report = DocumentsReport(
            task=task,
            stopped_by="it was interrupted" if stopped_by and stop.is_set() else stopped_by,
            documents=len(shelf.documents),
            unread=shelf.unread,
            ignored_files=shelf.ignored,
            passages=len(passages),
            rejects={} if task is None else recipe.rejects.counts(),
            cost=cost,
            cost_now=asker.progress.usage_now,
            money=price.of(cost.prompt_tokens, cost.completion_tokens)
            if price and not cost.unreported
            else None,
            seconds=time.monotonic() - start_s,
            folder=folder,
        )
        if report.is_done:
            _write_json(folder / "report.json", report.as_dict() | {"endpoint": asdict(endpoint)})
    return report


def write_prompts(out: Path) -> list[Path]:
    """Write the shipped prompts of this recipe to a folder, to be edited.

    Args:
        out: The folder; made if missing.

    Returns:
        The files.

    Raises:
        InputError: One is there already, or the folder can't be written.
    """
    paths = {name: out / f"{name}.md" for name in PROMPTS}
    there = [str(path) for path in paths.values() if path.exists()]
    if there:
        raise InputError(f"{', '.join(there)} would be overwritten; name another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, path in paths.items():
            write_durably(path, shipped_prompt(name).encode())
    except OSError as error:
        raise InputError(f"{out} can't be written: {error.strerror}") from error
    return list(paths.values())


def _read(documents: Path, recipe: Recipe) -> tuple[Shelf, list[Passage]]:
    shelf = read_folder(documents)
    passages = recipe.passages(shelf.documents)
    if not passages:
        raise InputError(f"the documents in {documents} are too short to hold a fact; give longer ones")
    return shelf, passages


def _task_path(out: Path, name: str) -> Path:
    """Return the task's file: ``out`` itself if it is named like one, else one of this name in it."""
    if not name.strip() or "/" in name:
        raise InputError(
            f"{name!r} can't be the name of a task: it is to name its file; give one without slashes"
        )
    if out.suffix.lower() in _OTHER_ENDINGS:
        raise InputError(f"a task is saved as JSON Lines; name the file {out.with_suffix('.jsonl').name}")
    return out if out.suffix.lower() in _TASK_ENDINGS else out / f"{name}.jsonl"


@contextmanager
def _claim(path: Path, documents: Path) -> Iterator[Path]:
    """Hold the folder beside the task, made if missing; nobody else makes this task meanwhile."""
    folder = path.with_name(f"{path.stem}.generation")
    origin = folder / "documents.json"
    if path.exists() and not origin.exists():
        raise InputError(f"{path} is there already and was not made from documents; name another file")
    try:
        make_folder_durably(folder)
        lock = RootLock(folder / "lock", path)
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror or error}") from error
    try:
        if not origin.exists():
            _write_json(origin, {"documents": str(documents.resolve())})
        made_from = json.loads(origin.read_bytes())["documents"]
        if made_from != str(documents.resolve()):
            raise InputError(f"{path} is made from the documents in {made_from}; name another file")
        yield folder
    finally:
        lock.release()


def _cook(
    recipe: Recipe, name: str, passages: list[Passage], asker: Asker, path: Path, folder: Path
) -> tuple[WrittenTask | None, str | None]:
    """Make the task and write it, or tell what ended that early."""
    try:
        try:
            cooked = recipe.make_task(name, passages, asker)
        finally:
            write_durably(folder / "rejects.jsonl", recipe.rejects.as_json_lines())
        if cooked is None:
            raise InputError(_why_nothing(recipe, folder / "rejects.jsonl"))
        return _write(cooked, path, folder), None
    except (AskingStoppedError, EndpointUnavailableError) as error:
        return None, str(error)
    except OSError as error:
        return None, f"{error.filename or folder} can't be written: {error.strerror or error}"


def _why_nothing(recipe: Recipe, rejects: Path) -> str:
    reasons = [
        f"{stage}: {reason} ({count})"
        for stage, counts in recipe.rejects.counts().items()
        for reason, count in counts.items()
    ]
    why = "; ".join(reasons) or "the model found no fact"
    return f"nothing of the documents came through: {why}; see {rejects}, and try another model or prompts"


def _write(cooked: Cooked, path: Path, folder: Path) -> WrittenTask:
    """Write the facts, then the task."""
    rows = (
        {
            "fact": fact.fact_id,
            "text": fact.text,
            "document": fact.passage.document,
            "passage": fact.passage.number,
        }
        for fact in cooked.facts
    )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_durably(folder / "facts.jsonl", lines.encode())
    save_task(cooked.task, path)
    task = cooked.task
    return WrittenTask(
        name=task.name,
        path=path,
        facts=len(cooked.facts),
        train=len(task.train),
        validation=len(task.validation),
        test=len(task.test),
    )


def _write_json(path: Path, content: object) -> None:
    write_durably(path, (json.dumps(content, indent=2, default=str) + "\n").encode())
