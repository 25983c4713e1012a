"""The pictures as PNG, drawn by a Chrome or Chromium that is installed and may reach no network."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from orchestrator.app.report.pictures import PAPER, Picture, plain
from orchestrator.contracts import InputError

MISSING_KALEIDO = "--png draws with kaleido, which is not installed: pip install 'foretune[report]'"
MISSING_BROWSER = (
    "--png needs a Chrome or Chromium, and none was found; install one (Debian and Ubuntu: "
    "`apt-get install chromium`), or name it in BROWSER_PATH"
)
_WIDTH, _SCALE = 760, 2
_NOWHERE = "127.0.0.1:9"
"""A proxy at which nobody listens: pages of files need none, and nothing else gets out."""


def require_browser() -> None:
    """Raise ``InputError`` where pictures can't be drawn as PNG, before anything is read."""
    if find_spec("kaleido") is None:
        raise InputError(MISSING_KALEIDO)
    if find_browser() is None:
        raise InputError(MISSING_BROWSER)


def find_browser() -> str | None:
    """Return the Chrome or Chromium that kaleido would drive, or None; nothing is fetched."""
    named = os.environ.get("BROWSER_PATH")
    if named:
        return named if Path(named).is_file() else None
    from choreographer.browsers.chromium import Chromium

    found: str | None = Chromium.find_browser(skip_local=False)
    return found


def write_pngs(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    """Write pictures as PNG.

    Args:
        pictures: Which.
        folder: Where to; made if missing.

    Returns:
        The files, in the order of the pictures.

    Raises:
        InputError: Kaleido or a browser is missing, or the folder can't be written.
    """
    require_browser()
    import kaleido

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise InputError(f"--png {folder} can't be written: {err.strerror}") from err
    paths = [folder / f"{picture.name}.png" for picture in pictures]
    jobs = [
        {
            "fig": _on_paper(picture),
            "path": str(path),
            "opts": {
                "format": "png",
                "width": max(_WIDTH, picture.min_width),
                "height": picture.height + 40,
                "scale": _SCALE,
            },
        }
        for picture, path in zip(pictures, paths, strict=True)
    ]
    # Kaleido would load MathJax from a server of others.
    options: dict[str, Any] = {"mathjax": False, "proxy_server": _NOWHERE, "path": find_browser()}
    kaleido.write_fig_from_object_sync(jobs, kopts=options)
    return paths


def _on_paper(picture: Picture) -> dict[str, Any]:
    """Return a figure with its title, on white."""
    figure: dict[str, Any] = plain(picture.figure)
    margin = figure["layout"]["margin"]
    layout = {
        **figure["layout"],
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {**margin, "t": margin["t"] + 36},
        "title": {"text": picture.title, "x": 0.01, "xanchor": "left", "font": {"size": 15}},
    }
    return {"data": figure["data"], "layout": layout}
