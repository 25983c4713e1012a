"""What trials will run on: torch's build against the GPUs and the driver, each GPU, and quantisation."""

from collections.abc import Mapping

from cluster.doctor import Finding, Status
from cluster.doctor.finding import size
from cluster.doctor.nvidia import Listing
from orchestrator.app.doctor.torch_probe import DeviceFacts, TorchFacts

VISIBLE = "CUDA_VISIBLE_DEVICES"
_MOSTLY_FREE = 0.9
_GET_CUDA = "install torch's build for CUDA (pytorch.org/get-started), keeping its version"


def torch_found(facts: TorchFacts, cards: Listing, environment: Mapping[str, str]) -> Finding:
    """Tell whether torch can use the GPUs that are there.

    Args:
        facts: What torch says.
        cards: What the driver's own program says.
        environment: Variables.

    Returns:
        A failure where there are GPUs that torch can't use, unless they were hidden from it.
    """
    built = f"{facts.version}, built for {f'CUDA {facts.cuda}' if facts.cuda else 'CPUs'}"
    if not cards.cards or _hides_all(environment):
        return Finding("torch", Status.OK, built)
    driver = cards.cards[0].driver
    there = f"{len(cards.cards)} GPU{'s' if len(cards.cards) > 1 else ''} with driver {driver}"
    if facts.cuda is None:
        return Finding(
            "torch", Status.FAILED, f"{built}, beside {there}", f"{_GET_CUDA}; or set {VISIBLE}= to nothing"
        )
    if facts.trouble is not None:
        advice = f"update the driver, or install a torch that is built for an older CUDA than {facts.cuda}"
        return Finding("torch", Status.FAILED, f"{built}, can't use {there}: {facts.trouble}", advice)
    return Finding("torch", Status.OK, f"{built}; driver {driver}")


def gpus_found(facts: TorchFacts, cards: Listing, environment: Mapping[str, str]) -> list[Finding]:
    """Tell of each GPU; that there is none is no failure.

    Args:
        facts: What torch says.
        cards: What the driver's own program says.
        environment: Variables.

    Returns:
        At least one finding.
    """
    if not facts.devices:
        return [_no_gpu(facts, cards, environment)]
    findings = [_gpu(number, device) for number, device in enumerate(facts.devices)]
    shown = environment.get(VISIBLE)
    wanted = [name for name in (shown or "").split(",") if name.strip()]
    if shown is not None and len(wanted) > len(facts.devices):
        found = f"{shown} names {len(wanted)} GPUs, and torch finds {len(facts.devices)}"
        findings.append(Finding(VISIBLE, Status.WARNING, found, _listed(cards)))
    elif shown is not None and len(facts.devices) < len(cards.cards):
        found = f"{shown}: {len(facts.devices)} of {len(cards.cards)} GPUs are shown"
        findings.append(Finding(VISIBLE, Status.OK, found))
    return findings


def quantisation_found(facts: TorchFacts) -> Finding:
    """Tell whether configs with int8, nf4 and 8-bit optimizers can run."""
    name = "bitsandbytes"
    if facts.bitsandbytes is None:
        found = "not installed: configs with int8, nf4 or an 8-bit or paged optimizer would end as invalid"
        return Finding(name, Status.OK, found, "pip install 'foretune[quantisation]', where a sweep has them")
    if facts.quantisation_trouble is not None:
        found = f"{facts.bitsandbytes} can't quantise: {facts.quantisation_trouble}"
        advice = "pip install --upgrade 'foretune[quantisation]', or leave int8, nf4 and 8-bit optimizers out"
        return Finding(name, Status.FAILED, found, advice)
    return Finding(name, Status.OK, f"{facts.bitsandbytes} quantises to nf4 and int8")


def unknown(why: str, cards: Listing) -> Finding:
    """Return what is said where torch could not be asked.

    Args:
        why: How the asking ended.
        cards: What the driver's own program says.

    Returns:
        A failure.
    """
    whose = "torch's build or the driver" if cards.cards else "torch's installation"
    return Finding(
        "torch", Status.FAILED, why, f"mend {whose}: `python -c 'import torch; torch.ones(1)'` shows more"
    )


def _no_gpu(facts: TorchFacts, cards: Listing, environment: Mapping[str, str]) -> Finding:
    if cards.trouble is not None:
        advice = "mend or remove the driver; until then trials run on the CPU"
        return Finding("GPUs", Status.WARNING, cards.trouble, advice)
    if not cards.cards:
        return Finding("GPUs", Status.OK, "no GPU: trials run on the CPU")
    there = ", ".join(card.name for card in cards.cards)
    if _hides_all(environment):
        found = f"{VISIBLE}={environment[VISIBLE]!r} hides {there}: trials run on the CPU"
        return Finding("GPUs", Status.WARNING, found, "unset it, unless you mean it")
    if facts.cuda is not None and facts.trouble is None:
        found = f"torch finds none of {there}" + (
            f" ({VISIBLE}={environment[VISIBLE]})" if VISIBLE in environment else ""
        )
        return Finding("GPUs", Status.FAILED, found, _listed(cards))
    return Finding("GPUs", Status.NOT_CHECKED, f"{there}: torch can't use what is there")


def _gpu(number: int, device: DeviceFacts) -> Finding:
    name = f"GPU {number}"
    text = (
        f"{device.name}, {size(device.free_bytes)} free of {size(device.total_bytes)}, compute capability "
        f"{device.capability}, {'bf16' if device.has_bf16 else 'no bf16'}"
    )
    if device.trouble is not None:
        advice = f"hide it with {VISIBLE}, or see `nvidia-smi` and the kernel's log for what is wrong with it"
        return Finding(name, Status.FAILED, f"{text}: {device.trouble}", advice)
    if device.free_bytes < _MOSTLY_FREE * device.total_bytes:
        advice = "see `nvidia-smi` for who has the rest: trials that need it end as out_of_memory"
        return Finding(name, Status.WARNING, text, advice)
    if not device.has_bf16:
        return Finding(name, Status.WARNING, text, "keep `training.compute_dtype: float32` in sweeps for it")
    return Finding(name, Status.OK, text)


def _hides_all(environment: Mapping[str, str]) -> bool:
    shown = environment.get(VISIBLE)
    return shown is not None and (not shown.strip() or shown.split(",")[0].strip() == "-1")


def _listed(cards: Listing) -> str:
    there = ", ".join(str(card.index) for card in cards.cards) or "none"
    return f"set {VISIBLE} to some of those that nvidia-smi lists ({there}), or unset it"
