"""What people read of a plan."""

from dataclasses import replace

from rich.console import Console

from orchestrator.app.advice_view import brief, render_plan
from surrogates.plan import Plan
from tests.support.tuning import make_plan
from workers.space import SearchSpace

DEFAULT = SearchSpace.from_spec("tiny", {}).default()


def printed(plan: Plan) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(render_plan("A plan", plan, DEFAULT))
    return captured.get()


def rows(plan: Plan) -> dict[str, str]:
    """The choices' rows by what stands in their first column, each as one line."""
    lines = printed(plan).splitlines()
    found: dict[str, str] = {}
    for line in lines[2 : lines.index(next(line for line in lines if line.startswith("The choices")))]:
        if line[:4].strip():
            rank = line[:4].strip()
            found[rank] = " ".join(line[4:].split())
        else:
            found[rank] += line.strip()
    return found


def planned() -> Plan:
    """A probe, the best choice, the probe's config again, and another in reserve."""
    plan = make_plan([(0, 1), (1, 6), (0, 4), (2, 2)])
    probe, best, again, spare = plan.choices
    better = replace(best, score=replace(best.score, value=0.5))
    return replace(plan, choices=(probe, better, again, replace(spare, is_reserve=True)))


def test_best_choice_is_starred_where_it_is_not_the_first() -> None:
    assert list(rows(planned())) == ["1", "2*", "3", "4"]


def test_choice_that_continues_an_earlier_one_says_which_and_from_where() -> None:
    found = rows(planned())
    assert "choice 1, continued 1 to 4" in found["3"]
    assert all("continued" not in found[rank] for rank in ("1", "2*", "4"))


def test_choice_in_reserve_is_said_to_be_so() -> None:
    assert [rank for rank, row in rows(planned()).items() if row.startswith("in reserve: ")] == ["4"]


def test_no_name_or_value_is_cut_in_a_hundred_columns() -> None:
    long = "lr_scheduler_type=constant_with_warmup"
    plan = make_plan([(0, 1)], configs=[{"lr_scheduler_type": "constant_with_warmup"}])
    (choice,) = plan.choices
    score = replace(choice.score, value=0.12, low=0.11, high=0.13)
    report = replace(score, metric="eval_exact_match")
    shown = printed(replace(plan, choices=(replace(choice, score=score, reports=(report,)),)))
    assert "…" not in shown
    assert long.startswith(next(word for word in shown.split() if word.startswith("lr_scheduler_type=")))


def test_what_is_told_of_a_config_is_what_the_default_does_not_have() -> None:
    assert brief({"a": 1, "b": 2.0 / 3, "c": True}, {"a": 1, "b": 0.5, "d": 4}) == "b=0.667, c=True"
    assert brief({"a": None}, {}) == "a=None"
    assert brief(DEFAULT, DEFAULT) == "the default"
