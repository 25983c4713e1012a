from pathlib import Path

import pytest

from cluster.doctor import Status
from orchestrator.app.doctor.caches import hub_found, own_cache_found


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, "home/.cache/huggingface"),
        ({"XDG_CACHE_HOME": "x"}, "x/huggingface"),
        ({"HF_HOME": "h", "XDG_CACHE_HOME": "x"}, "h"),
        ({"HF_HUB_CACHE": "hub", "HF_HOME": "h"}, "hub"),
    ],
)
def test_cache_is_looked_for_where_the_hubs_own_library_keeps_it(
    environment: dict[str, str], folder: str, tmp_path: Path
) -> None:
    in_here = {name: str(tmp_path / value) for name, value in environment.items()}
    hub, cache = hub_found(in_here, tmp_path / "home")
    assert "the embedded default needs none" in hub.found
    assert cache.found.endswith(f" at {tmp_path / folder}")


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_offline_variables_are_named_and_an_empty_cache_is_then_told(name: str, tmp_path: Path) -> None:
    hub, cache = hub_found({name: "1", "HF_HOME": str(tmp_path / "none")}, tmp_path)
    assert name in hub.found
    assert cache.status is Status.WARNING
    (tmp_path / "none").mkdir()
    assert hub_found({name: "1", "HF_HOME": str(tmp_path / "none")}, tmp_path)[1].status is Status.OK
    assert name not in hub_found({name: "0"}, tmp_path)[0].found


def test_cache_that_cannot_be_kept_is_a_warning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    _, kept = hub_found({"HF_HOME": "/proc/nowhere"}, Path("/"))
    assert kept.status is Status.WARNING
    assert "HF_HOME" in (kept.advice or "")
    monkeypatch.setenv("FORETUNE_CACHE", "/proc/nowhere")
    found = own_cache_found()
    assert found.status is Status.WARNING
    assert "tasks are measured anew" in (found.advice or "")
