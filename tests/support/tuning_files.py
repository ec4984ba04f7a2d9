"""Configuration files of fine-tunings as people write them: one for each format that is read, and what each must be read as."""

from __future__ import annotations

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
