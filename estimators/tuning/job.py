"""TuningJob: a fine-tuning with everything decided; what memory, time and money of one are asked about."""

from __future__ import annotations

from typing import Literal, get_args

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.method import FULL, TrainingMethod
from estimators.spec import Model
from estimators.tuning.recipes import Checkpointing, LossPath, Packing, Recipe
from estimators.units import DTYPE_BYTES
from estimators.weight_formats import PLAIN

Objective = Literal["sft", "dpo", "orpo", "kto", "reward", "grpo", "inference"]
"""What is trained for: the next token (pre-training alike), preferences between pairs with a reference model (dpo; ipo and simpo are
counted as dpo and orpo), without one (orpo), single judged answers (kto), a reward, answers that a reward judges (grpo); or nothing."""

Attention = Literal["sdpa", "flash", "eager"]
"""The attention kernel: torch's scaled_dot_product_attention, FlashAttention (2 or 3, flex alike), scores written out."""

Sharding = Literal["none", "ddp", "zero-1", "zero-2", "zero-3", "fsdp", "device-map"]
"""What several devices share: nothing (ddp: each holds all of it), DeepSpeed's ZeRO 1 to 3, FSDP with full sharding, or layers, one
device after the other (device_map, a pipeline with one micro-batch)."""

Reference = Literal["none", "adapters-off", "copy", "precomputed"]
"""Where a reference model's log-probabilities come from: there is none; the same model without its adapters; a frozen copy of the
weights; an earlier pass over the data."""

PAIRED = ("dpo", "orpo", "reward")
"""Objectives of which one sample is a pair: chosen and rejected run side by side, two rows each."""


@frozen
class Offload:
    """What lies on the host instead of the device.

    Attributes:
        optimizer, parameters: by DeepSpeed's ZeRO or FSDP; parameters come layer by layer.
        activations: the kept inputs of layers.
    """

    optimizer: bool = False
    parameters: bool = False
    activations: bool = False


NOTHING_OFFLOADED = Offload()


@frozen
class TuningJob:
    """One fine-tuning, fully decided. Which devices it runs on is no part of it.

    Attributes:
        model: the base, as checkpoints hold it; `method` says what is trained of it.
        method: all of it, adapters over a base in some format, or upper layers.
        objective: see the type.
        recipe: the framework whose habits fill in what has no field here: dtypes of adapters and of embedding, head and norms.
        is_recipe_assumed: whether nobody named the framework; intervals are wider then.
        weights_dtype: of the weights as loaded: bf16, fp16 or fp32. For a full fine-tuning what is trained is held in it, unless DeepSpeed
            or FSDP under mixed precision holds fp32 ones: see `has_fp32_masters`.
        autocast: bf16 or fp16, which products run in under torch.autocast; empty without autocast: then compute is in `weights_dtype`.
        micro_batch: samples of one forward pass on one device, before objectives with pairs double them.
        seq_len: tokens of the longest sample of a pass, padding and truncation included: it decides the memory. Under packing, of a row.
        accumulation: micro-batches of one optimizer step.
        packing: see the type.
        optimizer: transformers' `optim` name, such as adamw_torch_fused, see `optimizers`.
        optimizer_rank: of GaLore's or APOLLO's projections; 0 for the optimizer's own default.
        checkpointing, attention, loss: see the types.
        widens_logits: whether logits become fp32 before their loss; some classes of transformers 4 leave that to autocast.
        compiled: whether layers are compiled by torch.compile.
        sharding, num_gpus: see the type; all in one node, data-parallel but for device-map.
        offload: see `Offload`.
        lora_dropout: share of an adapter's input that is dropped; 0 for none.
        saved_modules: embedding and head that are trained in full beside adapters (peft's modules_to_save): "embedding", "head".
        fuses_backward: whether each parameter is updated inside backward, so that no gradients are held (LOMO, layerwise).
        reference: see the type; of dpo, kto and grpo with beta.
        completion_len, num_generations: of grpo: new tokens of an answer, and answers to a prompt.
        engine_share: of grpo with a colocated inference engine: share of the whole device that it takes; 0 for none.
        engine_sleeps: whether it gives that back while the model trains.
    """

    model: Model
    method: TrainingMethod = FULL
    objective: Objective = "sft"
    recipe: Recipe
    is_recipe_assumed: bool = False
    weights_dtype: str = "bf16"
    autocast: str = ""
    micro_batch: int = 1
    seq_len: int
    accumulation: int = 1
    packing: Packing = "none"
    optimizer: str = "adamw_torch_fused"
    optimizer_rank: int = 0
    checkpointing: Checkpointing = "none"
    attention: Attention = "sdpa"
    loss: LossPath = "plain"
    widens_logits: bool = True
    compiled: bool = False
    sharding: Sharding = "none"
    num_gpus: int = 1
    offload: Offload = NOTHING_OFFLOADED
    lora_dropout: float = 0.0
    saved_modules: tuple[str, ...] = ()
    fuses_backward: bool = False
    reference: Reference = "none"
    completion_len: int = 0
    num_generations: int = 1
    engine_share: float = 0.0
    engine_sleeps: bool = False

    def __post_init__(self) -> None:
        for name, kind in CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise BadValueError(f"{name} is {getattr(self, name)!r:.40}; expected one of: {', '.join(get_args(kind))}")
        for name in ("micro_batch", "seq_len", "accumulation", "num_gpus", "num_generations"):
            if getattr(self, name) < 1:
                raise BadValueError(f"{name} is {getattr(self, name)}; expected a whole number from 1")
        if self.weights_dtype not in ("bf16", "fp16", "fp32") or self.autocast not in ("", "bf16", "fp16"):
            raise BadValueError(f"weights in {self.weights_dtype}, autocast to {self.autocast or 'nothing'}; expected bf16, fp16 or fp32")
        if not 0 <= self.lora_dropout < 1 or not 0 <= self.engine_share < 1:
            raise BadValueError(f"dropout {self.lora_dropout}, an engine's share {self.engine_share}; expected from 0, below 1")
        if set(self.saved_modules) - {"embedding", "head"}:
            raise BadValueError(f"saved modules {', '.join(self.saved_modules)[:80]}; expected embedding, head or both")
        if self.method.base_format != PLAIN and not self.method.rank and self.objective != "inference":
            raise BadValueError(f"weights stored as {self.method.base_format} are not trained; give a rank for adapters beside them")
        if self.sharding == "none" and self.num_gpus > 1:
            raise BadValueError(f"{self.num_gpus} devices that share nothing are ddp, or zero-1 to 3, fsdp, device-map")

    @property
    def dtype(self) -> str:
        """What products run in."""
        return self.autocast or self.weights_dtype

    @property
    def dtype_bytes(self) -> int:
        """Bytes of an element of that."""
        return int(DTYPE_BYTES[self.dtype])

    @property
    def rows_per_sample(self) -> int:
        """Rows of a forward pass for one sample: two for a pair."""
        return 2 if self.objective in PAIRED else 1

    @property
    def rows(self) -> int:
        """Rows of one forward pass on one device, padded to `seq_len` tokens."""
        return self.micro_batch * self.rows_per_sample

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens of one forward pass on one device, padding included."""
        return self.rows * self.seq_len

    @property
    def data_parallel(self) -> int:
        """Devices that work on different samples at once."""
        return 1 if self.sharding == "device-map" else self.num_gpus

    @property
    def samples_per_step(self) -> int:
        """Samples of one optimizer step over all devices."""
        return self.micro_batch * self.accumulation * self.data_parallel

    @property
    def trains_adapters(self) -> bool:
        """Whether adapters are trained beside frozen weights."""
        return self.method.rank > 0

    @property
    def has_fp32_masters(self) -> bool:
        """Whether fp32 weights are held beside 16-bit ones that are trained, as DeepSpeed's ZeRO does."""
        return self.sharding.startswith("zero") and self.weights_dtype != "fp32"


CHOICES = {
    "objective": Objective,
    "packing": Packing,
    "checkpointing": Checkpointing,
    "attention": Attention,
    "loss": LossPath,
    "sharding": Sharding,
    "reference": Reference,
}
"""Fields that are one of a few words."""
