"""Prompts are files that people edit: what they get wrong is said with the file."""

from pathlib import Path

import pytest

from orchestrator.contracts import InputError
from workers.endpoint import Message
from workers.prompts import load_prompts

FIELDS = {"judge": frozenset({"question", "gold", "answer"})}
BODY = "Grade.\n---\n$question ${gold} $answer"


def load(folder: Path, text: str, name: str = "judge.md") -> tuple[Message, Message]:
    (folder / name).write_text(text)
    return load_prompts(FIELDS, folder)["judge"].fill(question="Q", gold="$gold", answer="---")


def test_folder_replaces_the_shipped_prompt(tmp_path: Path) -> None:
    messages = load(tmp_path, f"<!-- For graders:\n---\n-->\n{BODY} for $$5 --- or so")
    assert messages == (Message("system", "Grade."), Message("user", "Q $gold --- for $5 --- or so"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "needs what the system says, a line ---, and what the user says"),
        ("Grade $question $gold $answer", "a line ---"),
        ("Grade.\n---\n", "what the user says"),
        ("Grade.\n---\n$question $gold", r"\$answer is missing"),
        (f"{BODY} $name", r"\$name is unknown"),
        (f"{BODY} for 5$", r"write \$\$ for a dollar sign"),
    ],
)
def test_prompt_that_can_not_be_filled_in_is_refused_with_its_file(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(InputError, match=rf"judge\.md: .*{problem}"):
        load(tmp_path, text)


def test_folder_with_other_names_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds jugde, which is no prompt; prompts are judge\.md"):
        load(tmp_path, BODY, name="jugde.md")


def test_empty_folder_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no prompt"):
        load_prompts(FIELDS, tmp_path)
    with pytest.raises(InputError, match="no folder of prompts"):
        load_prompts(FIELDS, tmp_path / "nowhere")
