"""What a model's name says of how its weights are stored: `-GPTQ-Int4`, `-AWQ`, `-bnb-4bit`, `.Q4_K_M.gguf`, `-quantized.w4a16`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

STORED = frozenset(
    [
        "gguf",
        "ggml",
        "exl2",
        "exl3",
        "mlx",
        "onnx",
        "marlin",
        "openvino",
        "qat",
        "imatrix",
        "i1",
        "ud",
        "dynamic",
        "unsloth",
        "quantized",
        "actorder",
        "kv",
        "hqq",
        "aqlm",
        "eetq",
        "autoround",
        "torchao",
        "dwq",
    ]
)
"""Words of files whose formats are not counted, and words beside those that are."""

CHECKED = frozenset(["gptq", "awq", "bnb", "bitsandbytes", "fp8", "nf4", "4bit", "8bit", "nvfp4", "fp4", "mxfp4", "true", "false"])
QUANTISED = re.compile(r"\d+bits?|w\d+a\d+|i?q\d.*|int\d|bf16|fp16|f16|fp32|f32|float16|bfloat16|half|\d+g|g\d+|\d+(?:\.\d+)?bpw")
BEHIND_QUANTISED = frozenset(["k", "m", "s", "l", "xs", "xl", "xxs", "nl", "0", "1"])
"""What ends the name of a format such as ``Q4_K_M`` or ``Q8_0``."""

INTEGERS = re.compile(r"w(4|8)a(?:8|16)")
"""Bits of weights and of activations, as llm-compressor names its checkpoints."""


def without_format(parts: Sequence[str]) -> list[str]:
    """The words of a name without those of a format, which stand at the end.

    >>> without_format(["llama", "2", "7b", "q4", "k", "m", "gguf"])
    ['llama', '2', '7b']
    """
    kept = list(parts)
    for place in range(1, len(kept)):
        if re.fullmatch(r"i?q\d", kept[place]) and all(part in BEHIND_QUANTISED or part in STORED for part in kept[place + 1 :]):
            kept = kept[:place]
            break
    while kept and (kept[-1] in STORED or kept[-1] in CHECKED or QUANTISED.fullmatch(kept[-1])):
        kept.pop()
    return kept


def stored_as(parts: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What the words of a name say of the weights, as a configuration has it, and in words that go on a sentence.

    >>> stored_as(["llama", "2", "7b", "fp8"])
    ({'quantization_config': {'quant_method': 'fp8'}}, ', weights in fp8 with a scale per matrix')
    """
    words = set(parts)
    bits = next((int(found[1] or found[2]) for part in parts if (found := re.fullmatch(r"int([2-8])|([2-8])bits?", part))), 4)
    integers = next((found for part in parts if (found := INTEGERS.fullmatch(part))), None)
    if "gptq" in words or "awq" in words:
        method = "gptq" if "gptq" in words else "awq"
        given: dict[str, Any] = {"quant_method": method, "bits": bits, "group_size": 128}
        said = f"weights as its {method.upper()} files usually hold them: {bits} bits in groups of 128"
    elif words & {"bnb", "bitsandbytes", "nf4"} and bits == 4:
        given = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
        said = "weights in nf4 with scales quantised in turn"
    elif words & {"bnb", "bitsandbytes"} and bits == 8:
        given, said = {"quant_method": "bitsandbytes", "load_in_8bit": True}, "weights in int8 with a scale per output"
    elif words & {"nvfp4", "fp4"}:
        given, said = {"quant_method": "modelopt", "quant_algo": "NVFP4"}, "weights in nvfp4 with a scale per 16"
    elif "fp8" in words:
        given, said = {"quant_method": "fp8"}, "weights in fp8 with a scale per matrix"
    elif integers:
        shared: dict[str, Any] = {"strategy": "group", "group_size": 128} if integers[1] == "4" else {"strategy": "channel"}
        weights = {"num_bits": int(integers[1]), "type": "int", "symmetric": True, **shared}
        given = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
        said = f"weights in int{integers[1]} with a scale per {'128 inputs' if integers[1] == '4' else 'output'}"
    elif words & STORED or any(re.fullmatch(r"i?q\d.*|w\d+a\d+|int\d|\d+bits?|.*bpw", part) for part in parts):
        return {}, "; how its files hold the weights is not counted: they are as computed with"
    else:
        return {}, ""
    return {"quantization_config": given}, f", {said}"
