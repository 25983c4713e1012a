"""Every block of commands in the README is run, in its order, after the quickstart, in an empty folder.

``make quickstart`` itself would install everything once more; what is run is the command it ends in, and
that the targets end there is checked with make's dry run.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()
]
FORETUNE = [line for line in COMMANDS if line.startswith("foretune ")]

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


def run(arguments: list[str], folder: Path) -> str:
    command = [sys.executable, "-m", "orchestrator.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    empty = tmp_path_factory.mktemp("newcomer")
    (empty / "examples").symlink_to(CHECKOUT / "examples")
    return empty


@pytest.fixture(scope="module")
def story(folder: Path) -> str:
    return run(["quickstart"], folder)


def test_every_command_of_the_readme_is_ours_or_make() -> None:
    assert [line for line in COMMANDS if not line.startswith(("foretune ", "make ")) and line] == []
    assert len(FORETUNE) >= 8


@pytest.mark.parametrize(
    ("target", "ends_in"), [("quickstart", "foretune quickstart"), ("test", "-m pytest")]
)
def test_make_target_of_the_readme_ends_in_the_command_it_stands_for(target: str, ends_in: str) -> None:
    assert f"make {target}" in README
    # As from a shell, also where these tests were themselves started by make.
    ours = ("MAKE", "MFLAGS", "PYTEST_ARGS")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = ["make", "-n", target]
    dry = subprocess.run(command, cwd=CHECKOUT, env=outside, capture_output=True, text=True, check=True)
    assert dry.stdout.rstrip().endswith(ends_in)


def test_quickstart_tells_the_whole_story(story: str, folder: Path) -> None:
    for chapter in (
        "kill -9",
        "28 of 28 finished",
        "certified",
        "zero-shot",
        "default config",
        "recommended",
    ):
        assert chapter in story
    curves = pd.read_parquet(folder / "runs" / "quickstart" / "curves")
    assert len(curves.drop_duplicates(["trial_id", "epoch"])) == len(curves) > 28


def test_adapter_of_the_quickstart_loads_with_peft_and_answers(story: str, folder: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from workers.models.tiny_phi3 import PATH

    (adapter,) = re.findall(r"from_pretrained\(base, '([^']+)'\)", story)
    base = AutoModelForCausalLM.from_pretrained(PATH)
    tokenizer: Any = AutoTokenizer.from_pretrained(PATH)
    model = PeftModel.from_pretrained(base, folder / adapter)
    rows = [
        json.loads(line) for line in (folder / "runs" / "worlds" / "machines.jsonl").read_text().splitlines()
    ]
    question = next(row["question"] for row in rows if row["split"] == "test")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**prompt, max_new_tokens=16, do_sample=False)
    assert answer.shape[1] > prompt["input_ids"].shape[1]


@pytest.mark.parametrize("line", FORETUNE)
def test_command_of_the_readme_runs(line: str, story: str, folder: Path) -> None:
    output = run(shlex.split(line)[1:], folder)
    if "--json" in line or "--format peft" in line:
        assert json.loads(output)


def test_python_of_the_readme_runs(story: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    blocks = [block for kind, block in BLOCKS if kind == "python"]
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
