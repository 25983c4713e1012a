"""The page: sections, style, script and plotly in one file that loads nothing."""

from collections.abc import Sequence
from importlib.resources import files

from orchestrator.app.report.html import Html, tag
from orchestrator.app.report.pictures import script_json
from orchestrator.app.report.sections import Section
from orchestrator.contracts import InputError

MISSING_PLOTLY = "the report draws with plotly, which is not installed: pip install 'foretune[report]'"
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""Of the browser: whatever the page holds, nothing is loaded and nothing is sent. Parallel coordinates need
``unsafe-eval``: without it plotly says that the browser has no WebGL."""


def page(
    *,
    title: str,
    kind: str,
    lead: str,
    tiles: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    foot: str,
) -> str:
    """Return the whole report.

    Args:
        title: The sweep's name.
        kind: What stands above it.
        lead: In one sentence, where it stands.
        tiles: Numbers and what they count.
        sections: In their order.
        foot: What stands at the end.

    Returns:
        HTML, complete in itself.

    Raises:
        InputError: Plotly is not installed.
    """
    contents = [tag("li", tag("a", section.title, href=f"#{section.anchor}")) for section in sections]
    head = tag(
        "header",
        tag("p", kind, class_="eyebrow"),
        tag("h1", title),
        tag("p", lead, class_="lead"),
        tag(
            "ul", *(tag("li", tag("b", number), tag("span", what)) for number, what in tiles), class_="tiles"
        ),
        tag("nav", tag("ol", *contents), class_="contents", aria_label="Contents"),
        class_="top",
    )
    body = [
        tag(
            "section",
            tag("h2", section.title, id=f"{section.anchor}-title"),
            section.body,
            id=section.anchor,
            aria_labelledby=f"{section.anchor}-title",
        )
        for section in sections
    ]
    figures = [
        tag("script", Html(script_json(picture.figure)), type="application/json", id=f"figure-{picture.name}")
        for section in sections
        for picture in section.pictures
    ]
    scripts = [*figures, tag("script", Html(_plotly())), tag("script", Html(_resource("page.js")))]
    no_script = tag(
        "noscript", tag("p", "The pictures need JavaScript; tables and text do not.", class_="note")
    )
    metas = [
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} – Foretune report"),
        tag("style", Html(_resource("page.css"))),
    ]
    whole = tag(
        "html",
        tag("head", *metas),
        tag("body", head, tag("main", no_script, *body), tag("footer", foot), *scripts),
        lang="en",
    )
    return f"<!doctype html>\n{whole}\n"


def _plotly() -> str:
    """Return plotly's JavaScript as its package has it, safe to stand in a page."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as err:
        raise InputError(MISSING_PLOTLY) from err
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _resource(name: str) -> str:
    return files("orchestrator.app.report").joinpath(name).read_text()
