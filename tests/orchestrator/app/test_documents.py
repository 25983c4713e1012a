"""A folder of documents becomes a task, once paid for, whatever interrupts it."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.app.documents import generate_from_documents, preview_documents, write_prompts
from orchestrator.app.documents_report import DocumentsReport, Price
from orchestrator.contracts import InputError, RootInUseError
from orchestrator.metadataset.lock import RootLock
from tests.support.endpoint import Body, FakeEndpoint, status
from tests.support.scribe import FRAMES, document, scribe
from workers.documents.recipe import RecipeSettings
from workers.endpoint import EndpointSettings
from workers.tasks.loading import load_task


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(scribe) as fake:
        yield fake


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    folder = tmp_path / "papers"
    (folder / "deep").mkdir(parents=True)
    (folder / "aro.md").write_text(document("Mount Aro", facts=3))
    (folder / "deep" / "bel.txt").write_text(document("Lake Bel", facts=2))
    (folder / "photo.png").write_bytes(b"\x89PNG")
    return folder


def generate(endpoint: FakeEndpoint, papers: Path, out: Path, **changes: Any) -> DocumentsReport:
    settings = EndpointSettings(url=endpoint.url, model="m", concurrency=3, timeout_s=20.0)
    return generate_from_documents(papers, out, settings, **changes)


def rejects_of(report: DocumentsReport) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (report.folder / "rejects.jsonl").read_text().splitlines()]


def test_documents_become_a_task_of_twelve_pairs_a_fact(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    report = generate(endpoint, papers, tmp_path / "out")
    assert report.task is not None
    task = load_task(str(tmp_path / "out" / "papers.jsonl"))
    assert (len(task.train), len(task.validation), len(task.test)) == (50, 5, 5)
    facts = [example.fact for example in task.validation]
    assert len(set(facts)) == 5
    assert facts == [example.fact for example in task.test]
    for fact in facts:
        of_fact = [
            e for split in ("train", "validation", "test") for e in task.split(split) if e.fact == fact
        ]
        assert len({example.question for example in of_fact}) == 12
        assert len({example.answer for example in of_fact}) == 1
    assert (report.documents, report.ignored_files, report.passages) == (2, 1, 2)
    sources = [json.loads(line) for line in (report.folder / "facts.jsonl").read_text().splitlines()]
    assert [(row["fact"], row["document"]) for row in sources] == list(
        zip(facts, ["aro.md"] * 3 + ["deep/bel.txt"] * 2, strict=True)
    )
    assert sources[0]["text"] == "The property0 of Mount Aro is 100 metres."


def test_cost_is_that_of_the_answers_and_is_told_in_money(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    report = generate(endpoint, papers, tmp_path / "t.jsonl", price=Price(2.0, 4.0))
    assert report.cost == report.cost_now
    assert report.cost.requests == len(endpoint.answered) == 2 + 5
    words = sum(len(m["content"].split()) for body in endpoint.answered for m in body["messages"])
    assert report.cost.prompt_tokens == words
    assert report.money == pytest.approx((2 * words + 4 * report.cost.completion_tokens) / 1e6)
    kept = json.loads((report.folder / "report.json").read_text())
    assert kept["cost"]["prompt_tokens"] == words
    assert kept["endpoint"]["model"] == "m"


def test_untold_tokens_have_no_price(endpoint: FakeEndpoint, papers: Path, tmp_path: Path) -> None:
    endpoint.reports_usage = False
    report = generate(endpoint, papers, tmp_path / "t.jsonl", price=Price(2.0, 4.0))
    assert (report.money, report.cost.unreported) == (None, 7)
    assert "without those of 7 answers" in report.render()


def test_second_call_asks_nothing_and_writes_the_same(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    first = generate(endpoint, papers, tmp_path / "t.jsonl")
    content = (tmp_path / "t.jsonl").read_bytes()
    (tmp_path / "t.jsonl").unlink()
    asked = len(endpoint.bodies)
    again = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert len(endpoint.bodies) == asked
    assert (tmp_path / "t.jsonl").read_bytes() == content
    assert replace(again.cost, seconds=0) == replace(first.cost, seconds=0)
    assert again.cost_now.requests == 0


@pytest.mark.parametrize("concurrency", [1, 8])
def test_order_of_the_answers_changes_nothing(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path, concurrency: int
) -> None:
    (papers / "copy.md").write_text(document("Mount Aro", facts=3) + "\n\nAnd more.\n")
    settings = EndpointSettings(url=endpoint.url, model="m", concurrency=concurrency)
    generate_from_documents(papers, tmp_path / "a.jsonl", settings, name="t")
    other = EndpointSettings(url=endpoint.url, model="m", concurrency=2)
    generate_from_documents(papers, tmp_path / "b.jsonl", other, name="t")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_too_few_good_pairs_are_asked_for_again_with_what_was_wrong(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    def careless(body: Body) -> str:
        said = body["messages"][-1]["content"]
        answer = json.loads(scribe(body))
        if "pairs" in answer and "(none)\n</taken>" in said:
            answer["pairs"] = [
                *answer["pairs"][:5],
                {"question": "Is it 100 metres?", "answer": "100 metres"},
            ]
        return json.dumps(answer)

    endpoint.answer = careless
    report = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert report.task is not None
    assert report.task.facts == 5
    second_round = [body["messages"][-1]["content"] for body in endpoint.answered[7:]]
    assert len(second_round) == 5
    assert all("Write 9 pairs" in said for said in second_round)
    assert any("- Is it 100 metres? (the question holds its answer)" in said for said in second_round)
    assert report.rejects["pair"]["the question holds its answer"] == 5


def test_fact_whose_pairs_stay_too_few_is_left_out_and_counted(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    endpoint.answer = lambda body: (
        '{"pairs": []}'
        if "<fact>\nThe property1 of Mount Aro" in str(body["messages"][1]["content"])
        else scribe(body)
    )
    report = generate(endpoint, papers, tmp_path / "u.jsonl")
    assert report.task is not None
    assert report.task.facts == 4
    assert report.rejects["fact"] == {"too few pairs for it were accepted": 1}
    (reject,) = [row for row in rejects_of(report) if row["stage"] == "fact"]
    assert reject["detail"] == "0 of 12 pairs"
    assert reject["text"] == "The property1 of Mount Aro is 101 metres."


def test_passage_without_a_usable_answer_is_left_out_and_not_asked_again(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    endpoint.answer = lambda body: "Sorry." if "Lake Bel" in str(body) else scribe(body)
    report = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert report.rejects["passage"] == {"the model gave no usable answer": 1}
    asked = len(endpoint.bodies)
    again = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert len(endpoint.bodies) == asked
    assert again.rejects == report.rejects
    assert again.cost.requests == report.cost.requests == asked


def test_request_that_is_refused_is_counted_and_asked_again_next_time(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    settings = EndpointSettings(url=endpoint.url, model="m", concurrency=1)
    endpoint.troubles.extend([status(400, "context length exceeded")] * 3)
    report = generate_from_documents(papers, tmp_path / "t.jsonl", settings)
    assert report.rejects["passage"] == {"the endpoint refused the request": 1}
    assert "context length exceeded" in rejects_of(report)[0]["detail"]
    whole = generate_from_documents(papers, tmp_path / "t.jsonl", settings)
    assert whole.rejects["passage"] == {}
    assert whole.task is not None
    assert whole.task.facts == 5


def test_model_that_finds_nothing_makes_no_task_and_says_why(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    endpoint.answer = lambda body: '{"facts": ["It is tall.", "The height of Aro is 77 metres."]}'
    with pytest.raises(
        InputError, match=r"came through: .*fact: says what the passage does not \(2\).*rejects\.jsonl"
    ):
        generate(endpoint, papers, tmp_path / "t.jsonl", settings=RecipeSettings(facts_per_passage=2))
    assert not (tmp_path / "t.jsonl").exists()
    assert "77 metres" in (tmp_path / "t.generation" / "rejects.jsonl").read_text()


def test_endpoint_that_takes_nothing_is_refused(endpoint: FakeEndpoint, papers: Path, tmp_path: Path) -> None:
    endpoint.troubles.extend([status(400, "max_model_len is 512")] * 99)
    with pytest.raises(InputError, match=r"none of 2 requests was taken: .*max_model_len is 512"):
        generate(endpoint, papers, tmp_path / "t.jsonl")


def test_endpoint_that_goes_away_stops_early_and_the_same_call_continues(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    gone = threading.Event()

    def answer(body: Body) -> str:
        if len(endpoint.answered) >= 4:
            gone.set()
            endpoint.troubles.extend([status(503, headers={"Retry-After": "86400"})] * 9)
        return scribe(body)

    endpoint.answer = answer
    report = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert gone.is_set()
    assert not report.is_done
    assert report.stopped_by is not None
    assert "asks to wait 86400 s" in report.stopped_by
    assert not (tmp_path / "t.jsonl").exists()
    endpoint.troubles.clear()
    endpoint.answer = scribe
    whole = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert whole.is_done
    assert report.cost_now.requests + whole.cost_now.requests == 7
    assert (
        len({json.dumps(body, sort_keys=True) for body in endpoint.answered}) == len(endpoint.answered) == 7
    )


def test_ctrl_c_waits_for_what_is_under_way_and_keeps_it(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    def answer(body: Body) -> str:
        if len(endpoint.answered) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return scribe(body)

    endpoint.answer = answer
    settings = EndpointSettings(url=endpoint.url, model="m", concurrency=1)
    report = generate_from_documents(papers, tmp_path / "t.jsonl", settings)
    assert (report.is_done, report.stopped_by) == (False, "it was interrupted")
    assert 1 <= report.cost.requests == len(endpoint.answered) < 7
    endpoint.answer = scribe
    assert generate_from_documents(papers, tmp_path / "t.jsonl", settings).is_done
    assert len(endpoint.answered) == 7


def test_second_ctrl_c_does_not_wait_for_a_silent_endpoint(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    is_over = threading.Event()
    waited_for: list[Body] = []

    def answer(body: Body) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        is_over.wait(1)  # two signals at once would be one
        os.kill(os.getpid(), signal.SIGINT)
        is_over.wait(60)
        waited_for.append(body)
        return scribe(body)

    endpoint.answer = answer
    settings = EndpointSettings(url=endpoint.url, model="m", concurrency=1, timeout_s=90.0)
    report = generate_from_documents(papers, tmp_path / "t.jsonl", settings)
    assert waited_for == []
    is_over.set()
    assert (report.is_done, report.stopped_by) == (False, "it was interrupted")


def test_limit_asks_about_the_first_passages_only(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    report = generate(endpoint, papers, tmp_path / "t.jsonl", settings=RecipeSettings(most_passages=1))
    assert (report.passages, len(endpoint.answered)) == (1, 1 + 3)


def test_own_prompts_are_used_and_ask_anew(endpoint: FakeEndpoint, papers: Path, tmp_path: Path) -> None:
    generate(endpoint, papers, tmp_path / "t.jsonl")
    files = write_prompts(tmp_path / "prompts")
    assert [path.name for path in files] == ["facts.md", "pairs.md"]
    with pytest.raises(InputError, match="would be overwritten"):
        write_prompts(tmp_path / "prompts")
    (tmp_path / "prompts" / "pairs.md").unlink()
    facts = tmp_path / "prompts" / "facts.md"
    facts.write_text(facts.read_text().replace("You extract", "Dear model, you extract"))
    endpoint.answered.clear()
    report = generate(endpoint, papers, tmp_path / "t.jsonl", prompts=tmp_path / "prompts")
    assert report.cost_now.requests == 2
    assert all("Dear model" in body["messages"][0]["content"] for body in endpoint.answered)


def test_dry_run_counts_and_asks_nothing(papers: Path) -> None:
    preview = preview_documents(papers, settings=RecipeSettings(facts_per_passage=4), price=Price(1.0, 1.0))
    assert (preview.documents, preview.ignored_files, preview.at_most.passages) == (2, 1, 2)
    assert (preview.at_most.facts, preview.at_most.requests) == (8, 10)
    assert preview.at_most.prompt_tokens > sum(len(path.read_text()) for path in papers.rglob("*.md")) / 4
    assert preview.money_at_most == pytest.approx(
        (preview.at_most.prompt_tokens + preview.at_most.completion_tokens) / 1e6
    )
    assert list(papers.parent.iterdir()) == [papers]


def test_estimate_is_an_upper_bound_here(endpoint: FakeEndpoint, papers: Path, tmp_path: Path) -> None:
    at_most = preview_documents(papers, settings=RecipeSettings(facts_per_passage=3)).at_most
    report = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert report.cost.requests <= at_most.requests
    assert report.cost.prompt_tokens <= at_most.prompt_tokens
    assert report.cost.completion_tokens <= at_most.completion_tokens


def test_file_that_was_not_made_so_and_other_documents_are_refused(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious.jsonl").write_text("precious")
    with pytest.raises(InputError, match=r"precious\.jsonl is there already"):
        generate(endpoint, papers, tmp_path / "precious.jsonl")
    generate(endpoint, papers, tmp_path / "t.jsonl")
    with pytest.raises(InputError, match="is made from the documents in"):
        generate(endpoint, papers / "deep", tmp_path / "t.jsonl")
    assert (tmp_path / "precious.jsonl").read_text() == "precious"


def test_one_process_at_a_time_makes_a_task(endpoint: FakeEndpoint, papers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "t.generation"
    folder.mkdir()
    lock = RootLock(folder / "lock", tmp_path / "t.jsonl")
    with pytest.raises(RootInUseError):
        generate(endpoint, papers, tmp_path / "t.jsonl")
    lock.release()
    assert endpoint.bodies == []


def test_damaged_answer_of_the_journal_is_named(endpoint: FakeEndpoint, papers: Path, tmp_path: Path) -> None:
    report = generate(endpoint, papers, tmp_path / "t.jsonl")
    victim = sorted((report.folder / "answers").iterdir())[0]
    victim.write_text('{"content": {"facts": [')
    with pytest.raises(InputError, match=rf"{victim.name} is no answer of the journal any more; remove it"):
        generate(endpoint, papers, tmp_path / "t.jsonl")
    victim.unlink()
    assert generate(endpoint, papers, tmp_path / "t.jsonl").cost_now.requests == 1


def test_full_disk_stops_early_and_says_so(
    endpoint: FakeEndpoint, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.documents import journal

    def refuse(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(journal, "write_durably", refuse)
    report = generate(endpoint, papers, tmp_path / "t.jsonl")
    assert report.stopped_by is not None
    assert "No space left on device" in report.stopped_by
    monkeypatch.undo()
    assert generate(endpoint, papers, tmp_path / "t.jsonl").is_done


def test_frames_of_the_fake_model_are_as_many_as_are_asked_for() -> None:
    assert len(set(FRAMES)) == 14
