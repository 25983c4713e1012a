from dataclasses import asdict, replace

import pytest

from cluster.doctor import Finding, Status
from cluster.doctor.nvidia import Card, Listing
from orchestrator.app.doctor.accelerators import gpus_found, quantisation_found, torch_found
from orchestrator.app.doctor.torch_probe import DeviceFacts, TorchFacts, ask

GIB = 2**30
H100 = Card(0, "GPU-aa", "NVIDIA H100", "570.86", 80 * GIB, 0)
TWO = Listing(cards=(H100, replace(H100, index=1, uuid="GPU-bb")))
DEVICE = DeviceFacts(
    name="NVIDIA H100",
    total_bytes=80 * GIB,
    free_bytes=79 * GIB,
    capability="9.0",
    has_bf16=True,
    trouble=None,
)
ON_CPU = TorchFacts(
    version="2.13.0+cpu",
    cuda=None,
    devices=(),
    trouble=None,
    bitsandbytes="0.50.2",
    quantisation_trouble=None,
)
ON_GPUS = replace(ON_CPU, version="2.13.0+cu128", cuda="12.8", devices=(DEVICE, DEVICE))


def gpus(facts: TorchFacts, cards: Listing, **environment: str) -> list[Finding]:
    return gpus_found(facts, cards, environment)


def test_machine_without_a_gpu_is_fine() -> None:
    (found,) = gpus(ON_CPU, Listing())
    assert found == Finding("GPUs", Status.OK, "no GPU: trials run on the CPU")
    assert torch_found(ON_CPU, Listing(), {}).status is Status.OK


def test_torch_for_cpus_beside_gpus_fails_with_what_to_install() -> None:
    found = torch_found(ON_CPU, TWO, {})
    assert found.status is Status.FAILED
    assert "built for CPUs, beside 2 GPUs with driver 570.86" in found.found
    assert "build for CUDA" in (found.advice or "")
    assert [finding.status for finding in gpus(ON_CPU, TWO)] == [Status.NOT_CHECKED]


def test_gpus_that_were_hidden_on_purpose_are_no_failure_and_not_passed_over() -> None:
    for hidden in ("", "-1"):
        environment = {"CUDA_VISIBLE_DEVICES": hidden}
        assert torch_found(ON_CPU, TWO, environment).status is Status.OK
        (found,) = gpus_found(ON_CPU, TWO, environment)
        assert found.status is Status.WARNING
        assert "hides NVIDIA H100, NVIDIA H100: trials run on the CPU" in found.found


def test_driver_that_is_too_old_for_torch_fails_in_torchs_words() -> None:
    facts = replace(
        ON_GPUS, devices=(), trouble="The NVIDIA driver on your system is too old (found version 11040)."
    )
    found = torch_found(facts, TWO, {})
    assert found.status is Status.FAILED
    assert "driver 570.86: The NVIDIA driver on your system is too old" in found.found


def test_each_gpu_is_told_with_memory_capability_and_bf16() -> None:
    assert [(finding.name, finding.status) for finding in gpus(ON_GPUS, TWO)] == [
        ("GPU 0", Status.OK),
        ("GPU 1", Status.OK),
    ]
    expected = "NVIDIA H100, 79.0 GiB free of 80.0 GiB, compute capability 9.0, bf16"
    assert gpus(ON_GPUS, TWO)[0].found == expected


@pytest.mark.parametrize(
    ("device", "status", "said"),
    [
        (replace(DEVICE, trouble="CUDA error: ECC uncorrectable"), Status.FAILED, "ECC uncorrectable"),
        (replace(DEVICE, free_bytes=20 * GIB), Status.WARNING, "20.0 GiB free of 80.0 GiB"),
        (replace(DEVICE, capability="7.5", has_bf16=False), Status.WARNING, "no bf16"),
    ],
)
def test_gpu_that_is_broken_taken_or_old_is_told(device: DeviceFacts, status: Status, said: str) -> None:
    found = gpus(replace(ON_GPUS, devices=(device,)), TWO)[0]
    assert found.status is status
    assert said in found.found


def test_list_of_gpus_that_names_one_which_is_not_there_is_found_out() -> None:
    found = gpus(replace(ON_GPUS, devices=(DEVICE,)), TWO, CUDA_VISIBLE_DEVICES="0,7")[-1]
    assert found.status is Status.WARNING
    assert found.found == "0,7 names 2 GPUs, and torch finds 1"
    assert "(0, 1)" in (found.advice or "")


def test_share_of_the_gpus_is_told_as_such() -> None:
    found = gpus(replace(ON_GPUS, devices=(DEVICE,)), TWO, CUDA_VISIBLE_DEVICES="1")[-1]
    assert (found.status, found.found) == (Status.OK, "1: 1 of 2 GPUs are shown")


def test_driver_that_does_not_answer_is_a_warning_as_trials_run_on_the_cpu() -> None:
    (found,) = gpus(ON_CPU, Listing(trouble="nvidia-smi has not answered for 15 s"))
    assert found.status is Status.WARNING


def test_bitsandbytes_that_is_absent_is_no_failure_and_one_that_is_broken_is() -> None:
    assert quantisation_found(replace(ON_CPU, bitsandbytes=None)).status is Status.OK
    broken = quantisation_found(replace(ON_CPU, quantisation_trouble="libcudart.so.12: cannot open"))
    assert broken.status is Status.FAILED
    assert "0.50.2 can't quantise: libcudart.so.12" in broken.found


def test_facts_of_this_machine_cross_to_the_asker_whole() -> None:
    facts = ask()
    assert (
        TorchFacts.from_dict({**asdict(facts), "devices": [asdict(device) for device in facts.devices]})
        == facts
    )
    assert facts.quantisation_trouble is None
