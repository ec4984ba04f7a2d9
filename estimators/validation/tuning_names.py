"""What tables of fine-tunings call frameworks, models and matrices."""

from __future__ import annotations

FRAMEWORKS = {
    "fms-hf-tuning": "fms",
    "litgpt 8641822": "litgpt-2023",
    "litgpt": "litgpt",
    "fsdp_qlora": "fsdp-qlora",
    "fitcheck": "transformers",
    "own loop": "transformers",
    "ms-swift": "ms-swift",
    "torchtune": "torchtune",
    "axolotl": "axolotl",
    "llama-factory": "llama-factory",
    "unsloth": "unsloth",
    "trl": "trl",
    "transformers": "transformers",
}
"""What is in a framework's cell -> its recipe, the first that matches."""

LAYERS_OF = {
    "query": ("q_proj",),
    "key": ("k_proj",),
    "value": ("v_proj",),
    "projection": ("o_proj",),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "c_attn": ("q_proj", "k_proj", "v_proj"),
    "c_proj": ("o_proj", "down_proj"),
    "w1": ("up_proj",),
    "w2": ("gate_proj",),
}
"""litgpt's and Qwen's words for what has adapters, where a model has no matrix of that name."""

MODELS = {
    "thebloke/mistral-7b-v0.1": "mistral-7b",
    "techxgenus/meta-llama-3-8b": "llama-3-8b",
    "thebloke/llama-2-70b": "llama-2-70b",
    "thebloke/mixtral-8x7b-instruct-v0.1": "mixtral-8x7b",
    "bigcode/gpt_bigcode-santacoder": "santacoder",
    "qwen-1.8b": "qwen1.5-1.8b",
    "qwen-1_8b-chat": "qwen1.5-1.8b",
    "qwen-7b": "qwen1.5-7b",
    "qwen-7b-chat": "qwen1.5-7b",
    "qwen-14b": "qwen1.5-14b",
    "qwen-14b-chat": "qwen1.5-14b",
    "qwen-72b": "qwen1.5-72b",
    "qwen-72b-chat": "qwen1.5-72b",
    "tiny-llama": "tinyllama-1.1b",
    "stablelm-base-alpha-3b": "stablelm-alpha-3b",
    "gemma2-2b": "gemma-2-2b",
    "gemma2b": "gemma-2b",
    "gemma2-9b": "gemma-2-9b",
    "phi-3-mini-4k-instruct": "phi-3-mini",
    "llama 2 7 b": "llama-2-7b",
    "llama 2 13 b": "llama-2-13b",
    "falcon 40 b": "falcon-40b",
    "phi-1.5 1.3 b": "phi-1.5",
    "llama3-8b-instruct": "llama-3-8b",
    "openbuddy-zephyr-7b-chat": "mistral-7b",
}
"""What tables call models that ship under another name, or that have the shape of one."""
