"""The report in a real browser: it draws everything, asks the network for nothing, and fits a phone and
paper."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.app.report import write_report
from surrogates.data.store import write_tables
from tests.orchestrator.app.report.sweeps import hostile_meta
from tests.support.browser import NO_BROWSER, Browser, browser, find_browser
from tests.surrogates.synthetic import World, make


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    if find_browser() is None:
        pytest.skip(NO_BROWSER)
    with browser() as held:
        yield held


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tables = tmp_path_factory.mktemp("browser") / "tables"
    write_tables(hostile_meta(World(tasks=2, configs=14, epochs=3)), tables)
    return write_report(tables).out


def test_every_picture_is_drawn_without_an_error_or_a_request(page: Browser, report: Path) -> None:
    page.open(report)
    drawn = page.value(
        "[...document.querySelectorAll('.plot')].map(p => p.querySelector('svg.main-svg') !== null)"
    )
    assert len(drawn) > 6
    assert all(drawn)
    assert page.value("document.querySelector('.no-webgl')") is None
    assert page.value("document.querySelectorAll('.gl-canvas').length") > 0
    assert page.value("document.querySelector('img[src=x]')") is None
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [url for url in page.requests if url.startswith("file:")] == [report.as_uri()]


def test_the_page_fits_a_phone_in_the_dark(page: Browser, report: Path) -> None:
    page.open(report, width=360, height=780, dark=True, phone=True)
    assert page.value("document.documentElement.scrollWidth") <= 360
    ink, paper = (
        page.value(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor")
    )
    assert sum(map(int, ink[4:-1].split(","))) > 3 * 180 > 3 * 60 > sum(map(int, paper[4:-1].split(",")))
    tick = page.value("getComputedStyle(document.querySelector('.plot .xtick text')).fill")
    assert sum(map(int, tick[4:-1].split(","))) > 3 * 150
    assert page.errors == []


def test_paper_is_light_and_pictures_are_laid_out_for_it(page: Browser, report: Path) -> None:
    page.open(report, width=1600, dark=True)
    assert page.pdf().startswith(b"%PDF")
    page.do("Emulation.setEmulatedMedia", media="print", features=[])
    page.do("Emulation.setDeviceMetricsOverride", width=700, height=990, deviceScaleFactor=1, mobile=False)
    page.value("dispatchEvent(new Event('beforeprint'))")
    widths = page.value(
        "[...document.querySelectorAll('.plot .main-svg')].map(s => s.getBoundingClientRect().width)"
    )
    assert max(widths) <= 700
    assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_columns_are_sorted_by_a_click(page: Browser, report: Path) -> None:
    page.open(report, until="document.querySelector('th button') !== null")
    column = (
        "[...document.querySelectorAll('#configs table tbody tr')].map(r => Number(r.cells[2].dataset.order))"
    )
    page.value("document.querySelectorAll('#configs th button')[2].click()")
    assert page.value(column) == sorted(page.value(column))
    page.value("document.querySelectorAll('#configs th button')[2].click()")
    assert page.value(column) == sorted(page.value(column), reverse=True)


def test_pictures_are_written_as_png(tmp_path: Path) -> None:
    if find_browser() is None:
        pytest.skip(NO_BROWSER)
    write_tables(make(World(tasks=1, configs=1, epochs=2)), tmp_path / "tables")
    written = write_report(tmp_path / "tables", png=tmp_path / "png")
    assert written.pngs
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.pngs)
