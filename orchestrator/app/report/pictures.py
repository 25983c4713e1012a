"""Pictures as plotly's own plain objects, made here and drawn in the reader's browser.

Colours are Okabe and Ito's, told apart by the colour-blind, on light and on dark paper alike. Text, grid and
paper take their colours from the page's style sheet, so that printing is always light.
"""

import base64
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Figure = dict[str, Any]
"""``data`` and ``layout``, as plotly.js takes them."""

GREY, BLUE, VERMILION, GREEN = "#8a919c", "#0072b2", "#d55e00", "#009e73"
PINK, SKY, AMBER, BROWN = "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31"
INK, GRID, PAPER = "#24292f", "#dfe2e6", "#ffffff"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
QUIET_TO_LOUD = [[0.0, "#98a2ae"], [0.5, "#b3a583"], [0.8, "#dc9a2e"], [1.0, "#cc3d06"]]
"""From what need not be looked at to what should be; readable on both papers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture with its words."""

    name: str
    """Of letters, digits and ``-``, one on a page: the PNG's name, too."""
    figure: Figure
    alt: str
    """What a reader who can't see it is told."""
    caption: str
    height: int = 320
    min_width: int = 0
    """Pixels below which the picture scrolls instead of shrinking."""
    needs_webgl: bool = False
    title: str = ""
    """Above the picture."""


def slug(text: str) -> str:
    """Return a text as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def label(text: str) -> str:
    """Return a text of the data as plotly shows it literally: it reads markup in its labels."""
    return html.escape(text, quote=False)


def numbers(values: Iterable[float] | NDArray[Any]) -> NDArray[np.float32]:
    """Return numbers as they are embedded: half the bytes of a double, seven digits; NaN is a gap."""
    return np.asarray(values, dtype=np.float32)


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis; ``more`` is plotly's."""
    return {
        "title": {"text": title, "standoff": 8},
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "automargin": True,
        **more,
    }


def log_axis(title: str, values: NDArray[Any], **more: Any) -> dict[str, Any]:
    """Return a logarithmic axis where the values need one and can have one, else a plain one."""
    known = values[np.isfinite(values)]
    if known.size and known.min() > 0 and known.max() > 20 * known.min():
        ticks = log_ticks(float(known.min()), float(known.max()))
        shown = {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
        return axis(f"{title}, log scale", type="log", **shown, **more)
    return axis(title, **more)


def log_ticks(low: float, high: float) -> list[float]:
    """Return ticks of a logarithmic axis: powers of ten, and 2 and 5 between them where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    within = (1, 2, 5) if last - first <= 3 else (1,)
    return [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in within]


def layout(**more: Any) -> dict[str, Any]:
    """Return what all pictures share; ``more`` is plotly's."""
    return {
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": GREY, "font": {"color": INK, "family": FONT}},
        "showlegend": False,
        "hovermode": "closest",
        "colorway": [BLUE, VERMILION, GREEN, AMBER, SKY, PINK, BROWN, GREY],
        **more,
    }


def legend(**more: Any) -> dict[str, Any]:
    """Return a legend above the picture."""
    return {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)", **more}


def plain(content: Any) -> Any:
    """Return a figure as JSON-like values; arrays of numbers in plotly's own binary form."""
    if isinstance(content, np.ndarray):
        kind = {"f": "f4", "i": "i4"}[content.dtype.kind]
        packed = np.ascontiguousarray(content, dtype=f"<{kind}").tobytes()
        return {"dtype": kind, "bdata": base64.b64encode(packed).decode()}
    if isinstance(content, Mapping):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [plain(value) for value in content]
    if isinstance(content, np.generic):
        return content.item()
    return content


def script_json(content: Any) -> str:
    """Return JSON that can stand in a script element whatever texts it holds."""
    text = json.dumps(plain(content), separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
