"""References to synthetic tasks: round trip, refusals."""

import re

import pytest
from hypothesis import given, settings

from orchestrator.contracts import InputError
from tests.workers.worlds.test_tasks import KNOBS, NAMES, SEEDS
from workers.worlds import (
    SHIPPED_KNOBS,
    WorldKnobs,
    WorldReference,
    build_task,
    read_reference,
    task_from_reference,
)


@given(NAMES, SEEDS, KNOBS)
def test_a_reference_is_read_back_as_what_wrote_it(name: str, seed: int, knobs: WorldKnobs) -> None:
    reference = WorldReference(name=name, seed=seed, knobs=knobs)
    assert read_reference(str(reference)) == reference


@given(NAMES)
def test_a_bare_reference_is_the_task_that_ships(name: str) -> None:
    assert read_reference(f"worlds:{name}") == WorldReference(name=name, seed=0, knobs=SHIPPED_KNOBS[name])
    assert str(read_reference(f"worlds:{name}")) == f"worlds:{name}"


@settings(max_examples=15, deadline=None)
@given(NAMES, SEEDS, KNOBS)
def test_a_reference_builds_the_task_it_names(name: str, seed: int, knobs: WorldKnobs) -> None:
    task = task_from_reference(str(WorldReference(name=name, seed=seed, knobs=knobs)))
    assert task == build_task(name, seed=seed, knobs=knobs)


def test_a_reference_changes_only_the_knobs_it_names() -> None:
    read = read_reference("worlds:compounds?seed=3&facts=50&noise=0.2")
    assert (read.seed, read.knobs.facts, read.knobs.noise) == (3, 50, 0.2)
    assert read.knobs.relations == SHIPPED_KNOBS["compounds"].relations
    assert build_task("compounds", seed=3, knobs=read.knobs).name == "compounds-seed=3-facts=50-noise=0.2"


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("towns", "must start with worlds:"),
        ("worlds:", "no built-in task ''; there are compounds, laws"),
        ("worlds:planets", "no built-in task 'planets'; there are compounds, laws"),
        ("worlds:towns?", "no knob ''; there are seed, facts"),
        ("worlds:towns?size=3", "no knob 'size'; there are seed, facts, relations, wordings, typos, noise"),
        ("worlds:towns?facts", "facts must be a whole number, got ''"),
        ("worlds:towns?facts=2.5", "facts must be a whole number, got '2.5'"),
        ("worlds:towns?facts=0", "facts must be a whole number from 1 to 400, got 0"),
        ("worlds:towns?seed=-1", "seed must not be negative, got -1"),
        ("worlds:towns?noise=much", "noise must be a number, got 'much'"),
        ("worlds:towns?noise=nan", "noise must be a number from 0.0 to 0.9, got nan"),
        ("worlds:towns?held_out=yes", "held_out must be true or false, got 'yes'"),
        ("worlds:towns?facts=3&facts=4", "facts is given twice"),
    ],
)
def test_a_bad_reference_is_refused_by_what_is_wrong(reference: str, complaint: str) -> None:
    with pytest.raises(InputError, match=re.escape(complaint)) as caught:
        task_from_reference(reference)
    assert repr(reference) in str(caught.value)


def test_all_faults_of_a_reference_are_shown_together() -> None:
    with pytest.raises(InputError, match="2 problems") as caught:
        read_reference("worlds:towns?size=3&facts=many")
    assert len(caught.value.problems) == 2
