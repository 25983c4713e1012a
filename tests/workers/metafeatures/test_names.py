"""The table of meta-features is what is measured, documented and learned from."""

from pathlib import Path

import workers
from surrogates.metadataset import ROOT_FEATURES, ROOT_MACHINE_FEATURES
from workers.metafeatures import FEATURES, When

PAGE = Path(workers.__file__).parents[1] / "docs" / "meta-features.md"


def test_every_feature_stands_in_the_docs_in_order_with_unit_and_meaning() -> None:
    rows = [
        f"| `{name}` | {feature.unit} | {feature.when} | {feature.meaning} |"
        for name, feature in FEATURES.items()
    ]
    assert [line for line in PAGE.read_text().splitlines() if line.startswith("| `")] == rows


def test_what_is_learned_from_is_measured_under_a_base_model_without_a_clock_and_documented() -> None:
    for name in ROOT_FEATURES:
        assert FEATURES[name].when is not When.WITHOUT_BASE
        assert not FEATURES[name].is_timed
    listed = PAGE.read_text().partition("## What is learned from")[2].partition("## Measured once")[0]
    assert [name for name in FEATURES if f"`{name}`" in listed] == [
        name for name in FEATURES if name in ROOT_FEATURES
    ]


def test_what_a_clock_or_the_kind_of_machine_tells_is_no_sign_of_a_strange_task() -> None:
    assert set(ROOT_MACHINE_FEATURES) <= set(FEATURES)
    assert {name for name, feature in FEATURES.items() if feature.is_timed} <= set(ROOT_MACHINE_FEATURES)
    assert not set(ROOT_MACHINE_FEATURES) & set(ROOT_FEATURES)
