"""Configuration files of fine-tunings as people write them: one for each format that is read, and what each must be read as."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from estimators.errors import RequestError
from estimators.tuning.readers.job_files import Reading

Reader = Callable[..., Reading]
"""Writes files, by name, and reads them as those of one job."""


def refused(read: Reader, **texts: str) -> str:
    """The one line that the files are refused with."""
    with pytest.raises(RequestError) as error:
        read(**texts)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 480
    return line


AXOLOTL = """\
# QLoRA of an 8B model under FSDP 2, with parameters on the host
base_model: meta-llama/Llama-3.1-8B
adapter: qlora
load_in_4bit: true
lora_r: 32
lora_alpha: 64
lora_target_linear: true
datasets:
  - path: data/train.jsonl
    type: chat_template
sequence_len: 4096
sample_packing: true
micro_batch_size: 1
gradient_accumulation_steps: 8
num_epochs: 2
learning_rate: 0.0002
optimizer: adamw_torch_8bit
bf16: auto
gradient_checkpointing: true
flash_attention: true
fsdp_version: 2
fsdp_config:
  offload_params: true
  reshard_after_forward: true
  transformer_layer_cls_to_wrap: LlamaDecoderLayer
"""

LLAMA_FACTORY = """\
# QLoRA on one card
model_name_or_path: Qwen/Qwen2.5-7B
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
quantization_bit: 4
dataset: mine
template: qwen
cutoff_len: 2048
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
num_train_epochs: 3.0
learning_rate: 1.0e-4
bf16: true
flash_attn: fa2
output_dir: out
"""

TORCHTUNE = """\
# LoRA, packed, with a loss that never holds all logits
model: {_component_: torchtune.models.llama3_1.lora_llama3_1_8b, lora_attn_modules: [q_proj, v_proj],
  apply_lora_to_mlp: true, lora_rank: 16}
tokenizer: {_component_: torchtune.models.llama3.llama3_tokenizer, path: t.model, max_seq_len: 2048}
dataset: {_component_: torchtune.datasets.alpaca_dataset, packed: true}
batch_size: 2
gradient_accumulation_steps: 4
epochs: 1
optimizer: {_component_: bitsandbytes.optim.PagedAdamW8bit, lr: 2e-5}
loss: {_component_: torchtune.modules.loss.LinearCrossEntropyLoss}
enable_activation_checkpointing: true
dtype: bf16
compile: true
"""

ACCELERATE = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
num_machines: 1
num_processes: 8
mixed_precision: bf16
fsdp_config:
  fsdp_version: 2
  fsdp_reshard_after_forward: true
  fsdp_offload_params: false
"""

DEEPSPEED = """\
{
  "zero_optimization": {
    "stage": 3,
    "offload_optimizer": {"device": "cpu", "pin_memory": true},
    "offload_param": {"device": "cpu", "pin_memory": true},
    "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto",
    "stage3_param_persistence_threshold": "auto"
  },
  "bf16": {"enabled": "auto"},
  "train_batch_size": "auto",
  "train_micro_batch_size_per_gpu": "auto",
  "gradient_accumulation_steps": "auto"
}
"""

TRL_DPO = """\
{
  "model_name_or_path": "Qwen/Qwen2.5-1.5B-Instruct",
  "use_peft": true,
  "lora_r": 32,
  "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
  "beta": 0.1,
  "loss_type": "sigmoid",
  "max_length": 2048,
  "per_device_train_batch_size": 2,
  "gradient_accumulation_steps": 4,
  "num_train_epochs": 1,
  "learning_rate": 5e-6,
  "bf16": true,
  "output_dir": "out"
}
"""

TRAINER = """\
{
  "output_dir": "out",
  "per_device_train_batch_size": 2,
  "gradient_accumulation_steps": 4,
  "num_train_epochs": 1,
  "learning_rate": 5e-6,
  "optim": "paged_adamw_8bit",
  "bf16": true
}
"""

GRPO = """\
{
  "per_device_train_batch_size": 8,
  "gradient_accumulation_steps": 2,
  "max_prompt_length": 512,
  "max_completion_length": 1024,
  "num_generations": 16,
  "use_vllm": true,
  "vllm_gpu_memory_utilization": 0.4,
  "vllm_enable_sleep_mode": true,
  "beta": 0.04,
  "output_dir": "out"
}
"""

ADAPTER = """\
{
  "peft_type": "LORA",
  "base_model_name_or_path": "mistralai/Mistral-7B-v0.3",
  "task_type": "CAUSAL_LM",
  "r": 64,
  "lora_alpha": 16,
  "lora_dropout": 0.05,
  "target_modules": ["q_proj", "v_proj"],
  "modules_to_save": null,
  "bias": "none",
  "use_dora": false
}
"""

FILES = {
    "axolotl.yml": AXOLOTL,
    "llama_factory.yaml": LLAMA_FACTORY,
    "torchtune.yaml": TORCHTUNE,
    "accelerate.yaml": ACCELERATE,
    "ds_z3.json": DEEPSPEED,
    "dpo.json": TRL_DPO,
    "trainer.json": TRAINER,
    "grpo.json": GRPO,
    "adapter_config.json": ADAPTER,
}
"""Name -> text."""

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{i}: &b{i} [{','.join([f'*b{i - 1}' if i else '*a'] * 9)}]\n" for i in range(12))
HOSTILE = {
    "a tag that runs a program": (
        AXOLOTL + "x: !!python/object/apply:os.system ['touch here']\n",
        "the tag !!python/object/apply:os.system",
    ),
    "a name that is there twice": (AXOLOTL + "lora_r: 64\n", "lora_r is there twice in one table, expected once"),
    "tabs": (AXOLOTL.replace("  offload", "\toffload"), "a tab; YAML is indented by blanks"),
    "aliases of aliases": (AXOLOTL + BOMB, "it stands for more than 100,000 values"),
    "nested tables": ("a: " + "{b: " * 300 + "1" + "}" * 300, "nest"),
    "no table": ("just words\n", "it holds a single value; expected names with values"),
    "nothing": ("", "it holds nothing"),
    "keys of nobody": ("colour: red\n", "no key is known of a fine-tuning's configuration; expected a file of one of: axolotl, "),
    "a rank that is none": (AXOLOTL.replace("lora_r: 32", "lora_r: many"), "lora_r is 'many'; expected a whole number"),
    "a rank of 0": (AXOLOTL.replace("lora_r: 32", "lora_r: 0"), "lora_r is '0'; expected a whole number from 1"),
    "a rank beyond all": (AXOLOTL.replace("lora_r: 32", f"lora_r: {'9' * 400}"), "lora_r is '999"),
    "a number that is none": (AXOLOTL.replace("lora_r: 32", "lora_r: .nan"), "nan is not a finite number"),
    "a list for a number": (AXOLOTL.replace("lora_r: 32", "lora_r: [1, 2]"), "lora_r is a list; expected a whole number"),
    "a table for a number": (AXOLOTL.replace("sequence_len: 4096", "sequence_len: {a: 1}"), ""),
    "a method of nobody": (AXOLOTL.replace("qlora", "magic"), "adapter is 'magic'; expected one of: lora, qlora, none"),
    "4 bits without an adapter": (AXOLOTL.replace("adapter: qlora\n", ""), "load_in_4bit needs an adapter"),
    "qlora without 4 bits": (AXOLOTL.replace("load_in_4bit: true\n", ""), "expected load_in_4bit: true beside it"),
    "two attentions": (
        AXOLOTL + "eager_attention: true\n",
        "job.yml has flash_attention and eager_attention, which say flash and eager of attention",
    ),
    "ppo": (LLAMA_FACTORY.replace("stage: sft", "stage: ppo"), "stage is 'ppo'; expected one of: pt, sft, rm, dpo, kto; ppo is not priced"),
    "three bits": (LLAMA_FACTORY.replace("bit: 4", "bit: 3"), "quantization_bit is 3 by bnb; expected 4 or 8 by bnb"),
    "what is not priced": (LLAMA_FACTORY + "use_badam: true\n", "use_badam = true: that is not priced; take it out of the file"),
    "a builder of nobody": (TORCHTUNE.replace("torchtune.models.llama3_1.", "mine."), "expected a builder such as torchtune.models"),
    "an optimizer of nobody": (
        TORCHTUNE.replace("bitsandbytes.optim.PagedAdamW8bit", "my.Own"),
        "optimizer._component_ is 'my.Own', which is not priced",
    ),
    "a model that is cut": (
        ACCELERATE.replace("fsdp_config", "parallelism_config: {parallelism_config_tp_size: 2}\nfsdp_config"),
        "tp = 2",
    ),
    "fp8": (ACCELERATE.replace("bf16", "fp8"), "mixed_precision is 'fp8'; expected no, fp16 or bf16"),
    "terminal commands": (AXOLOTL + 'x: "\x1b]0;title\x07"\n', "no YAML: "),
}
"""What is wrong with a YAML file -> its text, and a part of the one line on it; empty where what is wrong is listed."""

HOSTILE_JSON = {
    "a name that is there twice": ('{"optim": "sgd", "optim": "adamw_torch"}', "optim: it is there twice in one object"),
    "NaN": ('{"per_device_train_batch_size": NaN}', "NaN is not a finite number"),
    "cut off": (TRAINER[:60], "no JSON: "),
    "nested": ('{"optim": ' + "[" * 100_000, "nested deeper than"),
    "a list": ("[1, 2]", "it holds a list; expected names with values"),
    "a ZeRO stage of 7": (DEEPSPEED.replace('"stage": 3', '"stage": 7'), "a ZeRO stage of 7; expected 0 to 3"),
    "Infinity": (DEEPSPEED.replace('"auto"', "Infinity", 1), "Infinity is not a finite number"),
}
"""The same of JSON."""
