import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.options import parse_budget
from orchestrator.contracts import InputError


@pytest.mark.parametrize(
    ("text", "budget_s"),
    [("60s", 60), ("5h", 18_000), ("45m", 2_700), ("1.5 d", 129_600), ("90", 90), ("2MIN", 120)],
)
def test_budget_is_a_number_with_a_unit(text: str, budget_s: float) -> None:
    assert parse_budget(text) == budget_s


@given(st.integers(1, 10**6))
def test_an_hour_is_sixty_minutes_is_3600_seconds(amount: int) -> None:
    assert parse_budget(f"{amount}h") == parse_budget(f"{amount * 60}m") == parse_budget(f"{amount * 3600}s")


@pytest.mark.parametrize("text", ["0", "0s", "0.0h", "-5h", "five hours", "5 parsecs", "", "h", "nan", "inf"])
def test_budget_that_buys_nothing_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--budget must be"):
        parse_budget(text)
