"""Documents say what the code does."""

import re
from pathlib import Path

import pytest
import typer

from orchestrator.cli.main import app
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_command_of_the_docs_exists_and_has_the_options_it_is_shown_with(page: Path) -> None:
    for line in re.findall(
        r"^ *(?:\$ )?foretune (.*?)(?:(?:;|  ).*)?$", page.read_text(), flags=re.MULTILINE
    ):
        words = line.split()
        command = typer.main.get_command(app)
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            name = words.pop(0).strip(";")
            assert name in command.commands, f"{page.name}: no command {name} in `foretune {line}`"
            command = command.commands[name]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        shown = {word for word in words if word.startswith("--")}
        assert shown <= known, f"{page.name}: `foretune {line}` has {shown - known}"
