import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contracts import config_id, digest

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
CONFIGS = st.dictionaries(st.text(), SCALARS, max_size=6)


@given(CONFIGS, st.randoms(use_true_random=False))
def test_config_id_does_not_depend_on_the_order_of_keys(config: dict[str, object], random: object) -> None:
    keys = list(config)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert config_id({key: config[key] for key in keys}) == config_id(config)


@given(CONFIGS, CONFIGS)
def test_different_configs_have_different_ids(one: dict[str, object], other: dict[str, object]) -> None:
    same = repr(sorted(one.items(), key=str)) == repr(sorted(other.items(), key=str))
    assert (config_id(one) == config_id(other)) == same


def test_id_is_the_same_in_every_release() -> None:
    # Frozen on purpose: ids stand in meta-datasets on other people's disks.
    assert config_id({"learning_rate": 0.001, "lora_r": 16, "optim": "lion"}) == "bbf9fd86b519d0d63431"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_json_has_no_word_for_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"learning_rate": value})
