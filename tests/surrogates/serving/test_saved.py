"""What is saved is what is loaded, and what can't be trusted is refused."""

import enum
import hashlib
import json
import math
import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogates.data.normalisation import Direction
from surrogates.metadataset import MetaDataset
from surrogates.plan import PastTrial, Prediction
from surrogates.recommender import Recommender
from surrogates.serving import saved
from surrogates.serving.saved import Learned, SavedStateError, drop_old, load, save, state_folder, versions
from surrogates.serving.values import Reader, UnreadableError, UnsavableError, Writer
from tests.surrogates.synthetic import World, make

LEARNED = Learned(rows=3, fit_s=0.5, learned_at="2026-11-21T12:00:00.000+00:00")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda held: (
        st.lists(held)
        | st.lists(held).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers(), st.text()), held)
        | st.sets(st.integers() | st.text()).map(frozenset)
        | st.dictionaries(st.text(), held).map(OrderedDict)
    ),
    max_leaves=12,
)


def through_disk(value: object) -> Any:
    writer = Writer()
    content = json.loads(json.dumps(writer.write(value, "value")))
    return Reader(writer.arrays, writer.frames).read(content)


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@settings(max_examples=60)
@given(VALUES)
def test_plain_values_come_back_with_their_types(value: object) -> None:
    assert same(through_disk(value), value)


@given(st.sampled_from(["<f8", "<f4", "<i8", "|b1", "|u1"]), st.lists(st.integers(0, 3), max_size=3))
def test_arrays_come_back_bit_for_bit(dtype: str, shape: list[int]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(dtype)
    back = through_disk([values, values.T])
    for found, expected in zip(back, [values, values.T], strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()


def test_records_numbers_and_enums_come_back_as_themselves() -> None:
    prediction = Prediction(metric="loss", value=1.0, low=-math.inf, high=math.inf)
    number = np.float32(0.1)
    back = through_disk((prediction, Direction.MAXIMISE, number, {"lock": threading.Lock()}))
    assert back[:2] == (prediction, Direction.MAXIMISE)
    assert type(back[1]) is Direction
    assert (type(back[2]), back[2]) == (np.float32, number)
    assert back[3]["lock"].acquire(blocking=False)


def test_what_is_shared_stays_shared() -> None:
    frame, array = pd.DataFrame({"a": [1.5, None]}), np.arange(3)
    first, second = through_disk(([frame, array], [frame, array]))
    assert first[0] is second[0]
    assert first[1] is second[1]
    pd.testing.assert_frame_equal(first[0], frame)


class Stranger:
    """Of no package of ours."""


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        Stranger(),
        Colour.RED,
        np.array(["text"]),
        np.array([None]),
        lambda: None,
        Path("/"),
        b"",
        Stranger,
        1j,
    ],
)
def test_what_can_not_be_saved_is_refused_with_the_way_to_it(value: object) -> None:
    with pytest.raises(UnsavableError, match=r"it\['held'\]\[0\]"):
        Writer().write({"held": [value]}, "it")


@pytest.mark.parametrize(
    "content",
    [
        {"object": ["os:PathLike", []]},
        {"object": ["surrogates.plan:json", []]},
        {"object": ["surrogates.plan:NoSuch", []]},
        {"object": ["surrogates.nowhere:Plan", []]},
        {"object": ["surrogates.serving.refit:subprocess.Popen", []]},
        {"enum": ["surrogates.plan:Plan", 1]},
        {"pickle": "gASVAAAA"},
        [1],
        {},
    ],
)
def test_content_that_was_never_written_is_refused(content: object) -> None:
    with pytest.raises(UnreadableError):
        Reader({}, []).read(content)


@pytest.fixture(scope="module")
def meta() -> MetaDataset:
    return make(World(tasks=3, configs=16, epochs=3))


@pytest.fixture(scope="module")
def recommender(meta: MetaDataset) -> Recommender:
    return Recommender.fit(meta)


@pytest.fixture(scope="module")
def whole(recommender: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    states = tmp_path_factory.mktemp("states")
    assert save(recommender, LEARNED, states) == 1
    return state_folder(states, 1)


@pytest.fixture
def state(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / whole.name)


def test_loaded_recommender_plans_as_the_saved_one_did(
    recommender: Recommender, meta: MetaDataset, whole: Path
) -> None:
    found = load(whole)
    assert found.learned == LEARNED
    rng = np.random.default_rng(0)
    configs = meta.space.sample(6, seed=5)
    for number in range(40):
        features = {name: float(rng.normal(3.0, 2.0)) for name in ("size", "hint", "level")}
        budget_s = float(np.exp(rng.uniform(1.0, 6.0)))
        candidates = configs if number % 3 == 0 else None
        expected = recommender.plan(features, budget_s, candidates=candidates, k=number % 5 + 1)
        assert found.recommender.plan(features, budget_s, candidates=candidates, k=number % 5 + 1) == expected
    left_out = {"task_id": meta.tasks[0].task_id, "k": 2}
    expected = recommender.plan({}, 50.0, **left_out)  # type: ignore[arg-type]
    assert found.recommender.plan({}, 50.0, **left_out) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["state.json", "arrays.safetensors", "frame-0.parquet", "digests.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_state_is_refused(state: Path, name: str, damage: str) -> None:
    path = state / name
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        # In digests.json: in the digest of what made it.
        place = content.index(b"made_by") + 15 if name == "digests.json" else len(content) // 2
        content[place] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(SavedStateError, match="it is learned anew from the root"):
        load(state)


def test_state_of_other_code_is_refused(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "made_by_this_code", lambda: "other")
    with pytest.raises(SavedStateError, match="another release of this code made it"):
        load(state)


def test_no_state_holds_a_pickle(whole: Path) -> None:
    assert {path.suffix for path in whole.iterdir()} == {".json", ".parquet", ".safetensors"}


def test_save_that_dies_before_its_rename_leaves_no_state(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "no space left")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no space left"):
        save(recommender, LEARNED, tmp_path)
    assert versions(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_newest_states_stay_and_numbers_only_rise(whole: Path, tmp_path: Path) -> None:
    for version in (3, 4, 11):
        shutil.copytree(whole, state_folder(tmp_path, version))
    drop_old(tmp_path)
    assert versions(tmp_path) == [4, 11]
    assert save(load(whole).recommender, LEARNED, tmp_path) == 12


def test_record_of_a_plan_is_no_recommender(state: Path, tmp_path: Path) -> None:
    content = json.loads((state / "state.json").read_text())
    trial = PastTrial(
        trial_id="a",
        task_id="b",
        task_name="c",
        config_distance=0.0,
        outcome="d",
        epoch=1,
        value=1.0,
        reports={},
    )
    content["objects"] = Writer().write(trial, "trial")
    text = json.dumps(content).encode()
    digests = json.loads((state / "digests.json").read_text())
    digests["digests"]["state.json"] = hashlib.sha256(text).hexdigest()
    (state / "state.json").write_bytes(text)
    (state / "digests.json").write_text(json.dumps(digests))
    with pytest.raises(SavedStateError, match="it holds no recommender"):
        load(state)
