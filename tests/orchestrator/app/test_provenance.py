"""What a trial's row says of where it comes from."""

import platform
from importlib.metadata import version

from orchestrator.app.provenance import provenance, trial_provenance
from workers.software import software


def test_the_driver_names_its_code_and_the_versions_that_are_installed() -> None:
    record = provenance()
    assert record["torch"] == version("torch")
    assert record["foretune"] == version("foretune")
    assert record["python"] == platform.python_version()
    assert len(record["code_digest"]) == 20
    assert record["commit"]


def test_of_a_worker_that_is_like_its_driver_only_the_machine_is_named() -> None:
    said = {**software(), "worker": "w-1", "pid": "7", "host": "node", "device": "cpu", "threads": "1"}
    own = {"worker.host": "node", "worker.device": "cpu", "worker.threads": "1"}
    assert trial_provenance(said, None) == {**provenance(), **own}


def test_versions_and_digests_in_which_a_worker_differs_are_named() -> None:
    record = trial_provenance({**software(), "torch": "1.0", "code_digest": "other"}, None)
    assert record["worker.torch"] == "1.0"
    assert record["worker.code_digest"] == "other"
    assert record["torch"] == version("torch")
    assert "worker.peft" not in record


def test_the_commit_of_a_hub_data_set_is_named() -> None:
    assert trial_provenance({}, "abc")["data_revision"] == "abc"
    assert trial_provenance({}, None) == provenance()
