"""Documents say what the code does."""

import re
from pathlib import Path

import pytest

from orchestrator.metadataset.schema import Table

CHECKOUT = Path(__file__).resolve().parents[1]
PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")])


@pytest.mark.parametrize("table", list(Table))
def test_every_column_stands_in_the_docs_with_its_type_and_meaning(table: Table) -> None:
    page = (CHECKOUT / "docs" / "meta-dataset.md").read_text()
    for field in table.schema:
        assert f"| `{field.name}` | {field.type} | {field.metadata[b'doc'].decode()} |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
