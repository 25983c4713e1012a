"""Small configs of every finetuning method and initialisation, for tiny models."""

from collections.abc import Mapping

from orchestrator.contracts import Config

METHODS: Mapping[str, Config] = {
    "lora": {"peft_method": "lora"},
    "miss": {"peft_method": "miss", "miss_r": 8},
    "oft": {"peft_method": "oft", "oft_block_size": 8},
    "ia3": {"peft_method": "ia3"},
    "vera": {"peft_method": "vera", "vera_r": 16},
    "prefix": {"peft_method": "prefix", "num_virtual_tokens": 3},
    "prompt": {"peft_method": "prompt", "num_virtual_tokens": 3},
    "full": {"peft_method": "full", "full_learning_rate": 1e-3},
}
VARIANTS: Mapping[str, Config] = {
    **METHODS,
    "dora": {"use_dora": True, "lora_r": 4},
    "rslora": {"use_rslora": True, "lora_r": 4, "loraplus_lr_ratio": 4.0},
    "pissa": {"init_lora_weights": "pissa_niter_16", "lora_r": 4},
    "pissa, rslora": {"init_lora_weights": "pissa_niter_16", "lora_r": 4, "use_rslora": True},
    "olora": {"init_lora_weights": "olora", "lora_r": 4},
    "corda": {"init_lora_weights": "corda", "lora_r": 4},
    "orthogonal": {"init_lora_weights": "orthogonal", "lora_r": 4},
    "eva": {"init_lora_weights": "eva", "lora_r": 4},
    "eva, dora": {"init_lora_weights": "eva", "lora_r": 4, "use_dora": True},
    "loftq": {"init_lora_weights": "loftq", "lora_r": 4},
}
