"""PEFT's config of each method, from a trial's hyperparameters and the facts of its base."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from peft import (
    IA3Config,
    LoraConfig,
    MissConfig,
    OFTConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    VeraConfig,
)
from peft.tuners.lora.config import CordaConfig

from workers.methods.support import scaled_inputs, target_names
from workers.models.facts import ModelFacts
from workers.training.hyperparameters import Hyperparameters
from workers.training.keys import keyed_seed

_PEFTS_OWN = frozenset({"pissa_niter_16", "olora", "corda", "orthogonal"})
"""Initialisations that PEFT carries out as it makes the layers; the others replace its default afterwards."""


def peft_config(hyper: Hyperparameters, facts: ModelFacts, trial_id: str, **base: Any) -> PeftConfig:
    """Return PEFT's config of a trial's adapter.

    Args:
        hyper: Method and its options; not ``full``, which has no adapter.
        facts: Of the base model.
        trial_id: Key of VeRA's random projections.
        **base: ``base_model_name_or_path`` and ``revision``, as the adapter's folder will name them.

    Returns:
        The config, which is the caller's own.
    """
    shared: dict[str, Any] = dict(base, task_type="SEQ_2_SEQ_LM" if facts.is_encoder_decoder else "CAUSAL_LM")
    names = target_names(hyper, facts)
    if names:
        shared["target_modules"] = names
    return _BUILDERS[hyper.peft_method](hyper, facts, trial_id, shared)


_Builder = Callable[[Hyperparameters, ModelFacts, str, dict[str, Any]], PeftConfig]


def _lora(hyper: Hyperparameters, facts: ModelFacts, _trial_id: str, shared: dict[str, Any]) -> PeftConfig:
    begins = hyper.init_lora_weights
    return LoraConfig(
        r=hyper.lora_r,
        lora_alpha=hyper.lora_alpha,
        lora_dropout=hyper.lora_dropout,
        use_rslora=hyper.use_rslora,
        use_dora=hyper.use_dora,
        init_lora_weights=begins if begins in _PEFTS_OWN else True,
        fan_in_fan_out=_is_transposed(hyper, facts),
        corda_config=CordaConfig() if begins == "corda" else None,
        **shared,
    )


def _miss(hyper: Hyperparameters, _facts: ModelFacts, _trial_id: str, shared: dict[str, Any]) -> PeftConfig:
    return MissConfig(r=hyper.miss_r, **shared)


def _oft(hyper: Hyperparameters, _facts: ModelFacts, _trial_id: str, shared: dict[str, Any]) -> PeftConfig:
    return OFTConfig(oft_block_size=hyper.oft_block_size, **shared)


def _ia3(hyper: Hyperparameters, facts: ModelFacts, _trial_id: str, shared: dict[str, Any]) -> PeftConfig:
    scaled = scaled_inputs(facts)
    return IA3Config(feedforward_modules=scaled, fan_in_fan_out=_is_transposed(hyper, facts), **shared)


def _vera(hyper: Hyperparameters, facts: ModelFacts, trial_id: str, shared: dict[str, Any]) -> PeftConfig:
    return VeraConfig(
        r=hyper.vera_r,
        projection_prng_key=keyed_seed(trial_id, "vera"),
        fan_in_fan_out=_is_transposed(hyper, facts),
        **shared,
    )


def _prefix(hyper: Hyperparameters, _facts: ModelFacts, _trial_id: str, shared: dict[str, Any]) -> PeftConfig:
    return PrefixTuningConfig(num_virtual_tokens=hyper.num_virtual_tokens, **shared)


def _prompt(hyper: Hyperparameters, _facts: ModelFacts, _trial_id: str, shared: dict[str, Any]) -> PeftConfig:
    return PromptTuningConfig(
        num_virtual_tokens=hyper.num_virtual_tokens,
        prompt_tuning_init="SAMPLE_VOCAB",  # the words' own embeddings: random ones lie far from any
        num_transformer_submodules=1,
        **shared,
    )


def _is_transposed(hyper: Hyperparameters, facts: ModelFacts) -> bool:
    """Whether the layers' weights are inputs by outputs; bitsandbytes turns round what it quantises."""
    return facts.is_transposed and hyper.quant == "none"


_BUILDERS: Mapping[str, _Builder] = MappingProxyType(
    {
        "lora": _lora,
        "miss": _miss,
        "oft": _oft,
        "ia3": _ia3,
        "vera": _vera,
        "prefix": _prefix,
        "prompt": _prompt,
    }
)
