"""Deployment: one replica of a served model with everything decided: devices, how it is cut, formats, the engine and its limits."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.serving.engines import Engine
from estimators.spec import Hardware, Model
from estimators.weight_formats import PLAIN, WeightFormat


@frozen
class Speculation:
    """A draft of some tokens that one step of the model verifies.

    Attributes:
        draft_tokens: of a draft.
        accepted_len: tokens that a step yields in the mean: accepted ones, and the one that the model adds.
        basis: where that is from, in words.
    """

    draft_tokens: int
    accepted_len: float
    basis: str = "as given"

    def __post_init__(self) -> None:
        if self.draft_tokens < 1 or not 1 <= self.accepted_len <= self.draft_tokens + 1:
            raise BadValueError(
                f"{self.draft_tokens} draft tokens, {self.accepted_len:g} accepted; expected from 1 draft token, "
                f"and from 1 to {self.draft_tokens + 1} tokens of a step"
            )


@frozen
class Deployment:
    """One replica. What is asked of it (lengths, load) is no part of it.

    Attributes:
        model: as checkpoints hold it.
        hardware: of every device.
        engine: its generation.
        tp, pp: degrees of tensor and pipeline parallelism.
        dp: groups of `tp` devices that each run attention for their own sequences while they share the experts.
        ep: devices that experts are shared out over; 1 where tensor parallelism cuts each of them.
        weights: the format of the matrices in layers; see `weight_formats`.
        compute: dtype of what no format says: bf16 or fp16.
        kv: dtype of the cache: bf16, fp16, fp8, fp32, or q8_0 (34 bytes for 32 values).
        memory_fraction: None for the engine's.
        kv_blocks: of a device, where they are known (measured, or given to the engine); None for what the memory leaves.
        max_num_seqs, token_budget, max_model_len: None for the engine's, and for the model's own longest sequence.
        prefix_share: of the prompt tokens, those that are found in the cache.
        speculation: None for none.
        cluster: a known cluster, for its network; empty for the usual one of the devices' generation.
    """

    model: Model
    hardware: Hardware
    engine: Engine
    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    weights: WeightFormat = PLAIN
    compute: str = "bf16"
    kv: str = "bf16"
    memory_fraction: float | None = None
    kv_blocks: int | None = None
    max_num_seqs: int | None = None
    token_budget: int | None = None
    max_model_len: int | None = None
    prefix_share: float = 0.0
    speculation: Speculation | None = None
    cluster: str = ""

    def __post_init__(self) -> None:
        for name in ("tp", "pp", "dp", "ep"):
            if getattr(self, name) < 1:
                raise BadValueError(f"{name} is {getattr(self, name)}; expected a whole number from 1")
        for name in ("kv_blocks", "max_num_seqs", "token_budget", "max_model_len"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadValueError(f"{name} is {value}; expected a whole number from 1")
        if self.memory_fraction is not None and not 0 < self.memory_fraction <= 1:
            raise BadValueError(f"a memory fraction of {self.memory_fraction:g}; expected from 0 to 1")
        if not 0 <= self.prefix_share < 1:
            raise BadValueError(f"a prefix share of {self.prefix_share:g}; expected from 0, below 1")
        if self.num_devices % self.ep:
            raise BadValueError(
                f"ep={self.ep} shares experts out over the replica's {self.num_devices} devices; expected a divisor of them"
            )

    def __hash__(self) -> int:
        """By what tells deployments apart: hashing a model's layers would take longer than a step."""
        return hash((self.model.name, self.hardware.id, self.engine.id, self.tp, self.pp, self.dp, self.ep, self.weights, self.kv))

    @property
    def num_devices(self) -> int:
        """Of one replica."""
        return self.tp * self.pp * self.dp

    @property
    def sequences_at_most(self) -> int:
        """In flight, all groups of attention together."""
        return self.max_num_seqs or self.engine.limits_on(self.hardware)[1]

    @property
    def tokens_a_step(self) -> int:
        """Prompt and decoded tokens of one step at most."""
        return self.token_budget or self.engine.limits_on(self.hardware)[0]

    @property
    def fraction(self) -> float:
        """Of the device's memory, what the engine may take."""
        return self.memory_fraction or self.engine.memory_fraction
