"""Which methods a comparison has."""

from collections.abc import Sequence
from importlib.util import find_spec

from orchestrator.contracts import InputError
from surrogates.baselines import available
from surrogates.evaluation.ours import TransferOnly
from surrogates.stepwise import Method


def all_methods() -> tuple[list[Method], list[str]]:
    """Return ours, the baselines and Quick-Tune's arms.

    Returns:
        The methods that can run here, ours first, and a sentence for each that can't.
    """
    baselines, missing = available()
    methods: list[Method] = [TransferOnly(), *baselines]
    if find_spec("gpytorch") is None:
        missing.append("Quick-Tune is left out: gpytorch is not installed; pip install 'foretune[gp]'")
    else:
        from surrogates.deepkernel.methods import Arm, QuickTune

        methods += [QuickTune(arm=arm) for arm in Arm]
    return methods, missing


def chosen_methods(names: Sequence[str]) -> tuple[list[Method], list[str]]:
    """Return the methods that were asked for.

    Args:
        names: None at all: every method that can run here.

    Returns:
        The methods in the order of ``all_methods``, and a sentence for each that can't run here.

    Raises:
        InputError: A name is unknown, or of a method that can't run here.
    """
    methods, missing = all_methods()
    if not names:
        return methods, missing
    known = [method.name for method in methods]
    unknown = [name for name in names if name not in known]
    if unknown:
        lacking = [text for name in unknown for text in missing if text.startswith(name.split()[0])]
        if len(lacking) == len(unknown):
            raise InputError(
                f"{', '.join(unknown)} can't run here: {'; '.join(dict.fromkeys(lacking))}; or name other "
                "--methods"
            )
        raise InputError(
            f"there is no method {', '.join(map(repr, unknown))}; known are {', '.join(known)}", *missing
        )
    return [method for method in methods if method.name in names], []
