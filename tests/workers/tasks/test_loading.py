"""Tasks come from every kind of source as they stand there, and what can't be used is refused by line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from orchestrator.contracts import InputError
from workers.tasks.hub import revision_of
from workers.tasks.loading import load_task, save_task
from workers.tasks.records import SPLITS, Example, Task, Turn

HOSTILE = [
    "a\nb",
    'say "so"',
    "x,y",
    "tab\there",
    "a\u2028b\u2029c\x85d",
    "\x0b\x0c\x1c",
    "🦊 née",
    "\ufeffmark",
    " \\n ",
]
ROWS = [
    {
        "question": f"What is {number}{HOSTILE[number % len(HOSTILE)]}?",
        "answer": f"{HOSTILE[number % 5]} {number}",
    }
    | {"split": ("train", "train", "validation", "test")[number % 4], "fact": f"f{number % 6}"}
    for number in range(16)
]


def write(path: Path, *rows: object) -> str:
    """Write JSON Lines; a string is written as it stands."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_bytes("\n".join(lines).encode())
    return str(path)


def row(
    question: str = "q", answer: object = "a", split: str | None = "train", **more: object
) -> dict[str, object]:
    values: dict[str, object] = {"question": question, "answer": answer, **more}
    return values if split is None else values | {"split": split}


FILLER = [row("v", "1", "validation"), row("t", "2", "test"), row("x", "3")]


def expected(rows: list[dict[str, Any]]) -> Task:
    splits: dict[str, Any] = {
        s: tuple(Example(r["question"], r["answer"], r["fact"]) for r in rows if r["split"] == s)
        for s in SPLITS
    }
    return Task(name="any", **splits)


def write_jsonl(path: Path) -> str:
    return write(path.with_suffix(".jsonl"), *ROWS)


def write_csv(path: Path) -> str:
    import csv

    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return str(path.with_suffix(".csv"))


def write_parquet(path: Path) -> str:
    parquet.write_table(pa.Table.from_pylist(ROWS), path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def write_data_set(path: Path) -> str:
    import datasets

    by_split = {
        s: [{k: v for k, v in r.items() if k != "split"} for r in ROWS if r["split"] == s] for s in SPLITS
    }
    tables = {split: datasets.Dataset.from_list(rows) for split, rows in by_split.items()}
    datasets.DatasetDict(tables).save_to_disk(str(path))
    return str(path)


@pytest.mark.parametrize("write_source", [write_jsonl, write_csv, write_parquet, write_data_set])
def test_same_rows_are_the_same_task_from_every_kind_of_source(
    tmp_path: Path, write_source: Callable[[Path], str]
) -> None:
    task = load_task(write_source(tmp_path / "birds"))
    assert task.task_id == expected(ROWS).task_id
    assert task.name == "birds"
    assert load_task(write_source(tmp_path / "birds"), name="mine").name == "mine"


def test_world_reference_gives_that_world() -> None:
    from workers.worlds import task_from_reference

    assert load_task("worlds:towns?seed=3") == task_from_reference("worlds:towns?seed=3")
    assert load_task("worlds:towns", name="mine").name == "mine"


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda t: bool(t.strip())
)
hostile_text = text | st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=3).map("".join).filter(
    str.strip
)
facts = st.none() | st.sampled_from(["", "1", *HOSTILE])


def _context(system: str | None, said: list[tuple[str, str]]) -> tuple[Turn, ...]:
    """An optional system turn, and pairs of what user and assistant said."""
    pairs = [turn for user, assistant in said for turn in (("user", user), ("assistant", assistant))]
    return (*([] if system is None else [("system", system)]), *pairs)


contexts = st.builds(
    _context, st.none() | hostile_text, st.lists(st.tuples(hostile_text, hostile_text), max_size=2)
)
examples = st.builds(Example, hostile_text, hostile_text, facts, contexts)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    drawn = draw(st.lists(examples, min_size=3, max_size=12, unique_by=lambda e: (e.question, e.answer)))
    cut = sorted(draw(st.lists(st.integers(1, len(drawn) - 1), min_size=2, max_size=2, unique=True)))
    parts = [tuple(drawn[a:b]) for a, b in zip([0, *cut], [*cut, len(drawn)], strict=True)]
    return Task(name="any", train=parts[0] * draw(st.integers(1, 2)), validation=parts[1], test=parts[2])


@given(tasks())
@settings(max_examples=150)
def test_saved_task_loads_as_the_same_task(tmp_path_factory: pytest.TempPathFactory, task: Task) -> None:
    path = tmp_path_factory.mktemp("saved") / "a.jsonl"
    save_task(task, path)
    loaded = load_task(str(path))
    assert loaded.task_id == task.task_id
    assert [loaded.split(split) for split in SPLITS] == [task.split(split) for split in SPLITS]
    assert len(path.read_text(encoding="utf-8").splitlines()) == sum(
        len(task.split(split)) for split in SPLITS
    )


def test_task_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    good, path = Example("q", "a"), tmp_path / "a.jsonl"
    save_task(
        Task(name="old", train=(good,), validation=(Example("v", "a"),), test=(Example("t", "a"),)), path
    )
    before = path.read_bytes()
    for train, validation, reason in [
        ((Example("q", " "),), (Example("v", "a"),), "task new, train example 1: answer is empty"),
        ((good,), (), "no rows of split validation"),
        (
            (good,),
            (good,),
            "validation example 1: the same question and answer in validation as at train example 1",
        ),
    ]:
        with pytest.raises(InputError, match=reason):
            save_task(Task(name="new", train=train, validation=validation, test=(Example("t", "a"),)), path)
        assert path.read_bytes() == before
    with pytest.raises(InputError, match=r"name the file a\.jsonl, not a\.csv"):
        save_task(load_task(str(path)), tmp_path / "a.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_save_that_the_system_refuses_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    old = Task(
        name="o", train=(Example("q", "a"),), validation=(Example("v", "a"),), test=(Example("t", "a"),)
    )
    save_task(old, path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_task(Task(name="n", train=old.test, validation=old.train, test=old.validation), path)
    assert load_task(str(path)).task_id == old.task_id
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{not json", "not JSON: Expecting property name"),
        ('{"question": "q", "answer": "a"', "not JSON"),
        ("[" * 100_000, "not usable JSON: nested too deeply"),
        ('["q", "a"]', "must be a JSON object with question and answer, got list"),
        ("null", "must be a JSON object"),
        (row(answer=None), "no answer"),
        ({"question": "q", "split": "train"}, "no answer"),
        ({"answer": "a", "split": "train"}, "no question"),
        ({"prompt": "q", "split": "train"}, "no completion"),
        ({"text": "q", "split": "train"}, r"no question and answer, nor .*; found \['split', 'text'\]"),
        (row(answer=""), "answer is empty"),
        (row(answer=" \u2028\n"), "answer is empty"),
        (row("\t"), "question is empty"),
        (row(answer=42), "answer must be text, got int 42"),
        (row(answer=["a"]), r"answer must be text, got list \['a'\]"),
        (
            '{"question": "q", "answer": "\\ud800", "split": "train"}',
            r"answer holds half a character \(surrogate U\+D800\)",
        ),
        (row(split="holdout"), "split must be train, validation .* got str 'holdout'"),
        (row(split=None) | {"split": 1}, "split must be .* got int 1"),
        (row(split=None), "no split, though other rows name theirs"),
        (row(fact=1.5), "fact must be text or a whole number, got float 1.5"),
        ({"messages": "hi", "split": "train"}, "messages must be a list"),
        (
            {"messages": [], "split": "train"},
            "messages must be of user and assistant in turn",
        ),
        *(
            (
                {"messages": [{"role": role, "content": "x"} for role in roles], "split": "train"},
                rf"messages must be of user .* got \['{roles[0]}'",
            )
            for roles in (
                ("user", "assistant", "user"),
                ("user", "user", "assistant"),
                ("assistant", "user", "assistant"),
                ("system", "system", "user", "assistant"),
                ("user", "system", "user", "assistant"),
                ("user", "tool", "assistant"),
                ("system",),
            )
        ),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "assistant"}], "split": "train"},
            "content of the assistant's message must be text, got NoneType None",
        ),
    ],
)
def test_bad_row_is_refused_by_file_line_and_reason(tmp_path: Path, bad: object, reason: str) -> None:
    source = write(tmp_path / "t.jsonl", FILLER[0], "", bad, *FILLER[1:])
    with pytest.raises(InputError, match=rf"t\.jsonl, line 3: {reason}") as refusal:
        load_task(source)
    assert len(refusal.value.problems) == 1


def test_bad_rows_are_refused_together_and_all_are_counted(tmp_path: Path) -> None:
    source = write(
        tmp_path / "t.jsonl", *FILLER, "nonsense", *(row(f"q{n}", "") for n in range(12)), row(split="no")
    )
    with pytest.raises(InputError) as refusal:
        load_task(source)
    problems = refusal.value.problems
    assert [f"line {number}:" in problem for number, problem in enumerate(problems[:10], start=4)] == [
        True
    ] * 10
    assert problems[10:] == (f"{source}: 4 more bad rows, 14 in all",)


def test_line_that_is_not_utf8_is_refused_by_line(tmp_path: Path) -> None:
    lines = [json.dumps(r).encode() for r in FILLER]
    (tmp_path / "t.jsonl").write_bytes(b"\n".join([*lines, '{"question": "é"}'.encode("latin-1")]))
    with pytest.raises(InputError, match=r"line 4: not UTF-8 text \(byte 0xe9 at 15\)"):
        load_task(str(tmp_path / "t.jsonl"))
    (tmp_path / "t.csv").write_bytes("question,answer\nq,a\nv,é\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"t\.csv, line 3: not UTF-8 text"):
        load_task(str(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("question,answer,split\nq,a,train\nv\n", r"line 3: 1 cells under 3 columns"),
        (
            "question,answer,split\nq,a,b,train\n",
            r"line 2: 4 cells under 3 columns; quote cells that hold a ','",
        ),
        ('question,answer,split\n"a\nb",x,train\nv,,test\n', "line 4: answer is empty"),
        ('question,answer,split\nq,"a,train\n', "line 2: not CSV: unexpected end of data"),
        ("question,split\nq,train\n", "columns: no answer"),
        ("a,b\nq,train\n", "columns: no question and answer"),
        ("question,answer,answer\nq,a,b\n", "more than one column answer"),
        ("question,answer\n", "holds no rows"),
        ("question,answer,split\nq,a,train\nv,a,\n", "line 3: no split, though other rows name theirs"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=reason):
        load_task(str(tmp_path / "t.csv"))


def test_bad_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 and then nothing of the kind")
    with pytest.raises(InputError, match=r"t\.parquet is not readable Parquet"):
        load_task(str(path))
    parquet.write_table(pa.table({"question": ["q", "v"], "answer": [1, 2]}), path)
    with pytest.raises(InputError, match="row 1: answer must be text, got int 1"):
        load_task(str(path))
    parquet.write_table(pa.table({"text": ["q"]}), path)
    with pytest.raises(InputError, match=r"columns: no question and answer, .* found \['text'\]"):
        load_task(str(path))


@pytest.mark.parametrize("split", SPLITS)
def test_file_with_an_empty_split_is_refused(tmp_path: Path, split: str) -> None:
    rows = [row(f"q{name}", "a", name) for name in SPLITS if name != split]
    with pytest.raises(InputError, match=f"has no rows of split {split}; a task needs"):
        load_task(write(tmp_path / "t.jsonl", *rows))


def test_row_in_two_splits_is_refused_and_two_answers_to_a_question_are_not(tmp_path: Path) -> None:
    source = write(tmp_path / "t.jsonl", *FILLER, row(), row(), row("q", "other", "test"))
    assert len(load_task(source).train) == 3
    source = write(tmp_path / "t.jsonl", *FILLER, row(), row(split="test"))
    with pytest.raises(
        InputError, match="line 5: the same question and answer in test as at line 4 in train"
    ):
        load_task(source)


def test_source_that_is_not_there_is_refused_with_what_to_give(tmp_path: Path) -> None:
    for source in (str(tmp_path / "no.jsonl"), "towns", "", " "):
        with pytest.raises(InputError, match=r"no task at .*; give a JSONL, CSV or Parquet file"):
            load_task(source)
    with pytest.raises(InputError, match=r"none saved by datasets\.save_to_disk"):
        load_task(str(tmp_path))
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(InputError, match=r"of no kind known here; give a file named \.jsonl"):
        load_task(str(tmp_path / "t.json"))
    with pytest.raises(InputError, match="is empty"):
        load_task(write(tmp_path / "t.jsonl"))
    with pytest.raises(InputError, match="holds no rows"):
        load_task(write(tmp_path / "t.jsonl", "", "  ", ""))
    with pytest.raises(InputError, match="the name of task 'worlds:towns' is empty"):
        load_task("worlds:towns", name=" ")


def test_split_names_and_columns_in_common_use_are_understood(tmp_path: Path) -> None:
    rows: list[object] = [
        {"prompt": "q1", "completion": "a1", "split": "Train"},
        {
            "messages": [{"role": "user", "content": "q2"}, {"role": "assistant", "content": "a2"}],
            "split": "dev",
        },
        row("q3", "a3", "val", fact=7, prompt="no", id=12),
        row("q4", "a4", "validation", fact=None),
        row("q5", "a5", "TEST"),
    ]
    task = load_task(write(tmp_path / "t.jsonl", *rows))
    assert task.train == (Example("q1", "a1"),)
    assert task.validation == (Example("q2", "a2"), Example("q3", "a3", "7"), Example("q4", "a4"))
    assert task.test == (Example("q5", "a5"),)


SYSTEM, ASKED, SAID = ({"role": r, "content": f"{r} says"} for r in ("system", "user", "assistant"))
DIALOGUES = [
    {
        "messages": [
            SYSTEM,
            ASKED,
            SAID,
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a"},
        ]
    },
    {"messages": [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]},
    {"messages": [SYSTEM, {"role": "user", "content": "q2"}, {"role": "assistant", "content": "a2"}]},
]
DIALOGUE_SPLITS = ("train", "validation", "test")


def dialogues_as_jsonl(path: Path) -> str:
    rows = [{**row, "split": split} for row, split in zip(DIALOGUES, DIALOGUE_SPLITS, strict=True)]
    return write(path.with_suffix(".jsonl"), *rows)


def dialogues_as_parquet(path: Path) -> str:
    rows = [{**row, "split": split} for row, split in zip(DIALOGUES, DIALOGUE_SPLITS, strict=True)]
    parquet.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def dialogues_as_data_set(path: Path) -> str:
    import datasets

    tables = {
        split: datasets.Dataset.from_list([row])
        for row, split in zip(DIALOGUES, DIALOGUE_SPLITS, strict=True)
    }
    datasets.DatasetDict(tables).save_to_disk(str(path))
    return str(path)


def dialogues_as_columns_of_lists(path: Path) -> str:
    """As data sets keep a sequence of structures."""
    rows = [
        {
            "messages": {name: [turn[name] for turn in row["messages"]] for name in ("role", "content")},
            "split": split,
        }
        for row, split in zip(DIALOGUES, DIALOGUE_SPLITS, strict=True)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def dialogues_as_prompts_and_completions(path: Path) -> str:
    rows = [
        {"prompt": row["messages"][:-1], "completion": row["messages"][-1:], "split": split}
        for row, split in zip(DIALOGUES, DIALOGUE_SPLITS, strict=True)
    ]
    return write(path.with_suffix(".jsonl"), *rows)


@pytest.mark.parametrize(
    "write_source",
    [
        dialogues_as_jsonl,
        dialogues_as_parquet,
        dialogues_as_data_set,
        dialogues_as_columns_of_lists,
        dialogues_as_prompts_and_completions,
    ],
)
def test_a_dialogue_is_its_last_question_and_answer_after_what_was_said_before(
    tmp_path: Path, write_source: Callable[[Path], str]
) -> None:
    task = load_task(write_source(tmp_path / "talk"))
    system = ("system", "system says")
    context = (system, ("user", "user says"), ("assistant", "assistant says"))
    assert task.train == (Example("q", "a", context=context),)
    assert task.validation == (Example("q1", "a1"),)
    assert task.test == (Example("q2", "a2", context=(system,)),)
    plain = Task(name="x", train=(Example("q", "a"),), validation=task.validation, test=task.test)
    assert plain.task_id != task.task_id


def test_a_blank_turn_of_the_system_is_none(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": " "}, {"role": "user", "content": "q"}]
    turns.append({"role": "assistant", "content": "a"})
    source = write(tmp_path / "t.jsonl", *FILLER, {"messages": turns, "split": "train"})
    assert load_task(source).train[-1] == Example("q", "a")


def test_the_same_question_after_other_words_is_another_example(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "system", "content": said}, ASKED, SAID], "split": split}
        for said, split in (("one", "train"), ("two", "test"))
    ]
    task = load_task(write(tmp_path / "t.jsonl", *FILLER, *rows))
    assert task.train[-1].question == task.test[-1].question
    with pytest.raises(InputError, match="the same question and answer in test as at line 4"):
        load_task(write(tmp_path / "t.jsonl", *FILLER, rows[0], {**rows[0], "split": "test"}))


def test_plain_rows_keep_the_task_id_that_they_had_before_dialogues_were_read() -> None:
    rows = (Example("q", "a"), Example("v", "1", "f")), (Example("w", "2"),), (Example("t", "3"),)
    task = Task(name="x", train=rows[0], validation=rows[1], test=rows[2])
    assert task.task_id == "ff75a4ac316e4e5dd8ef"


def test_crlf_and_a_byte_order_mark_are_no_part_of_a_row(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(r).encode() for r in FILLER))
    assert load_task(str(tmp_path / "t.jsonl")).validation == (Example("v", "1"),)


def test_file_without_splits_is_split_the_same_way_in_any_order(tmp_path: Path) -> None:
    rows = [row(f"q{number}", "a", None) for number in range(50)]
    forward = load_task(write(tmp_path / "t.jsonl", *rows))
    backward = load_task(write(tmp_path / "t.jsonl", *reversed(rows)))
    assert [len(forward.split(split)) for split in SPLITS] == [40, 5, 5]
    assert [set(forward.split(s)) for s in SPLITS] == [set(backward.split(s)) for s in SPLITS]
    assert set(load_task(str(tmp_path / "t.jsonl"), seed=1).test) != set(forward.test)


def test_file_with_too_few_rows_to_split_is_refused(tmp_path: Path) -> None:
    source = write(
        tmp_path / "t.jsonl", *(row("q", answer, None) for answer in "abcdef"), row("r", "a", None)
    )
    with pytest.raises(InputError, match="7 rows with 2 different facts or questions can't be split"):
        load_task(source)


def test_data_set_without_validation_gets_it_from_train_and_keeps_its_test(tmp_path: Path) -> None:
    import datasets

    train = datasets.Dataset.from_dict({"prompt": [f"q{n}" for n in range(20)], "completion": ["a"] * 20})
    test = datasets.Dataset.from_dict({"prompt": ["t1", "t2"], "completion": ["b", "b"]})
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "both"))
    task = load_task(str(tmp_path / "both"))
    assert task.test == (Example("t1", "b"), Example("t2", "b"))
    assert (len(task.train), len(task.validation)) == (18, 2)
    train.save_to_disk(str(tmp_path / "bare"))
    assert [len(load_task(str(tmp_path / "bare")).split(split)) for split in SPLITS] == [16, 2, 2]
    datasets.DatasetDict(test=test, dev=test).save_to_disk(str(tmp_path / "no-train"))
    with pytest.raises(InputError, match="has no rows of split train"):
        load_task(str(tmp_path / "no-train"))


def test_saved_data_set_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match="is no readable data set"):
        load_task(str(tmp_path))


@pytest.mark.parametrize("source", ["hf:", "hf:a/b/c", "hf:a b", "hf:a@", "hf:a:"])
def test_malformed_hub_reference_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="names no data set of the hub; write hf:ID"):
        load_task(source)


def test_hub_that_can_not_be_reached_is_refused_with_what_to_do(tmp_path: Path) -> None:
    code = (
        "from workers.tasks.loading import load_task; from orchestrator.contracts import InputError\n"
        "try: load_task('hf:nobody/nothing@main:plain')\n"
        "except InputError as error: print(error)"
    )
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=offline
    )
    assert done.stdout.startswith("hf:nobody/nothing@main:plain can't be loaded (")
    assert "save it with datasets.save_to_disk and name that folder" in done.stdout


def test_json_lines_need_no_torch_no_datasets_and_no_pyarrow(tmp_path: Path) -> None:
    source = write(tmp_path / "t.jsonl", *FILLER)
    code = (
        f"import sys; from workers.tasks.loading import load_task; load_task({source!r})\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'pyarrow', 'pandas', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_commit_of_a_hub_data_set_is_read_from_the_addresses_of_its_files() -> None:
    commit = "7b6d24c440a36b6815f21b70d25016731768db1f"
    files = {f"hf://datasets/some/set@{commit}/plain/train-0.parquet": {"num_bytes": 1, "checksum": None}}
    told = SimpleNamespace(info=SimpleNamespace(download_checksums=files))
    silent = SimpleNamespace(info=SimpleNamespace(download_checksums=None))
    assert revision_of(told) == commit
    assert revision_of({"train": silent, "test": told}) == commit
    assert revision_of(silent) is None
