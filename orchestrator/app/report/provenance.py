"""Where the numbers come from: spec, code, packages, machines, dates, commands."""

import json
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import pandas as pd

from orchestrator.app.provenance import WORKER, provenance
from orchestrator.app.report.html import Cell, Column, Content, Html, Row, facts, join, table, tag
from orchestrator.app.report.sections import Section, details, paragraph
from orchestrator.app.report.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """When, how and by what the report was made."""

    at: str
    """UTC, ISO 8601."""
    command: str


def stated(trials: pd.DataFrame) -> dict[str, Counter[str]]:
    """Return what trials say of where they come from: name to how many say what.

    Args:
        trials: With a column provenance of JSON objects; rows without one say nothing.

    Returns:
        By name; the device among them.
    """
    told: dict[str, Counter[str]] = {}
    if "provenance" in trials.columns:
        for text, size in trials["provenance"].dropna().value_counts().items():
            for name, said in json.loads(str(text)).items():
                told.setdefault(name, Counter())[str(said)] += int(size)
    if "device" in trials.columns:
        told["device"] = Counter(str(device) for device in trials["device"].dropna())
    return {name: told[name] for name in sorted(told) if told[name]}


def provenance_section(source: Source, made: Made) -> Section:
    """Return where all of this comes from."""
    told = stated(source.finished)
    first = (
        "commit",
        "code_digest",
        "foretune",
        "device",
        f"{WORKER}host",
        f"{WORKER}device",
        f"{WORKER}threads",
        "platform",
        "python",
    )
    order = [*(name for name in first if name in told), *(name for name in told if name not in first)]
    body = [facts(_dates(source, made))]
    if order:
        body += [
            paragraph(
                "What the trials say of themselves. Where they differ, all is shown with the number of "
                "trials."
            ),
            _stated_table(order, told),
        ]
    if source.spec is not None:
        body.append(details("The sweep's spec, as it stands in the root", tag("pre", source.spec.to_yaml())))
    body.append(_space(source))
    body.append(details("What the columns mean", _words(source)))
    return Section(anchor="provenance", title="Where this comes from", body=join(body))


def _dates(source: Source, made: Made) -> list[tuple[str, Content]]:
    rows: list[tuple[str, Content]] = [("root", tag("code", str(source.path)))]
    if source.spec is not None:
        models = sorted(set(source.finished.get("base_model", pd.Series(dtype=str)).dropna()))
        prints = sorted(set(source.finished.get("base_fingerprint", pd.Series(dtype=str)).dropna()))
        rows.append(("base model", ", ".join(models or [source.spec.base_model])))
        if prints:
            rows.append(("its fingerprint", tag("code", ", ".join(text[:16] for text in prints))))
    ends = source.finished.get("finished_at", pd.Series(dtype=str)).dropna()
    starts = source.attempts["at"].dropna() if len(source.attempts) else pd.Series(dtype=str)
    if len(starts):
        rows.append(("first attempt", f"{str(starts.min())[:19]} UTC"))
    if len(ends):
        rows.append(("last trial ended", f"{str(ends.max())[:19]} UTC"))
    rows += [
        (
            "this report",
            f"{made.at}, foretune {version('foretune')}, Python {platform.python_version()}, commit "
            f"{provenance()['commit'][:12]}",
        ),
        ("made with", tag("code", made.command)),
    ]
    if source.spec is not None:
        rows.append(("run a trial again", tag("code", f"foretune reproduce TRIAL --root {source.path}")))
        rows.append(("prove the root whole", tag("code", f"foretune verify {source.path}")))
    return rows


def _stated_table(order: Sequence[str], told: dict[str, Counter[str]]) -> Html:
    rows: list[Row] = [[name, _said(told[name])] for name in order]
    return table(
        "Code, packages, devices and machines of the ended trials.",
        [Column("what"), Column("said by the trials")],
        rows,
    )


def _said(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({number:,} trials)" for value, number in values.most_common(12))


def _space(source: Source) -> Html:
    rows: list[Row] = [
        [name, source.space.declared(name), Cell(str(_seen(source, name)), float(_seen(source, name)))]
        for name in source.space.names
    ]
    caption = "Hyperparameters, what the space declares, and how many values ended trials had."
    return details(
        "The declared space",
        table(
            caption, [Column("name"), Column("declared"), Column("values on record", is_number=True)], rows
        ),
    )


def _seen(source: Source, name: str) -> int:
    return len({repr(config[name]) for config in source.configs.values() if name in config})


def _words(source: Source) -> Html:
    return facts(
        [
            (source.metric, source.meaning),
            (
                "cost",
                "seconds of training and evaluation of the epochs on record, as the recommender counts them",
            ),
            ("trial", "one config on one task with one seed"),
            ("point", "what was measured after one epoch of a trial"),
            ("default", "the config that the space declares as its default"),
        ]
    )
