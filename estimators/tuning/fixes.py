"""Fixes: single changes of a fine-tuning that win memory, each priced in memory and time, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from estimators import remembered
from estimators.advice import Advice
from estimators.errors import RequestError
from estimators.frozen import frozen, replace
from estimators.memory.optimizers import optimizer
from estimators.spec import Hardware
from estimators.tuning.fit import Verdict, fit
from estimators.tuning.job import Offload, TuningJob
from estimators.tuning.step import tuning_step
from estimators.units import GIBI, format_bytes, format_ratio
from estimators.weight_formats import PLAIN

KIND = "fixes"

LEAST_BYTES = 2**26
"""A change that wins less is none."""


@frozen
class Fix:
    """One change.

    Attributes:
        words: what to do, with the option that does it.
        won_bytes: less on the fullest device.
        slower: time of a sample over that before; None where no step is predicted.
        verdict: with the change alone.
        keeps_result: whether the same is trained on the same data; a smaller rank, shorter samples or another method are not.
        needs_devices: whether it takes more of them.
    """

    words: str
    job: TuningJob
    won_bytes: float
    slower: float | None
    verdict: Verdict
    keeps_result: bool
    needs_devices: bool

    @property
    def advice(self) -> Advice:
        """The change, what it wins, what it costs, and how to find out."""
        pace = "" if self.slower is None else f", {format_ratio(self.slower, 3)} times the time"
        worth = f"{format_bytes(self.won_bytes)} less{pace}"
        return Advice(
            id=self.words.partition(":")[0], what=self.words, worth=worth, check=f"python -m bench fit with it says {self.verdict}"
        )

    @property
    def order(self) -> tuple[bool, bool, float, float]:
        """What comes first: the same result on the same devices, the least time lost for each GiB, the most won."""
        return self.needs_devices, not self.keeps_result, round(self.loss_per_byte * GIBI, 2), -self.won_bytes

    @property
    def loss_per_byte(self) -> float:
        """Share of time lost for each byte won; 1 for all of it where no step is predicted."""
        lost = max(0.0, (self.slower or 1.0) - 1.0) if self.slower is not None else 1.0
        return lost / self.won_bytes


def fixes(job: TuningJob, hardware: Hardware) -> tuple[Fix, ...]:
    """What wins memory by itself, in `order`. What was priced before is remembered."""
    changes = {words: (changed, keeps) for words, changed, keeps in _changes(job, _low_dtype(job, hardware))}
    question = f"{job!r} {hardware!r}"
    priced = remembered.recall(KIND, question)
    if priced is None:
        priced = _priced(job, hardware, {words: changed for words, (changed, _) in changes.items()})
        remembered.remember(KIND, question, priced)
    found = []
    for words, won, slower, verdict in priced:
        changed, keeps = changes[words]
        more = changed.num_gpus > job.num_gpus
        found.append(Fix(words=words, job=changed, won_bytes=won, slower=slower, verdict=verdict, keeps_result=keeps, needs_devices=more))
    return tuple(sorted(found, key=lambda each: each.order))


def _priced(job: TuningJob, hardware: Hardware, changes: Mapping[str, TuningJob]) -> list[list[Any]]:
    """Of each change that wins memory, as json has it: its words, the bytes, by how much it is slower, the verdict."""
    before = fit(job, hardware)
    pace = _seconds_per_sample(job, hardware)
    found: list[list[Any]] = []
    for words, changed in changes.items():
        after = fit(changed, hardware)
        won = before.allocated_bytes - after.allocated_bytes
        if won < LEAST_BYTES:
            continue
        new_pace = _seconds_per_sample(changed, hardware)
        found.append([words, won, new_pace / pace if pace and new_pace else None, after.verdict])
    return found


MOST_CHANGES = 8


def way_to_fit(job: TuningJob, hardware: Hardware) -> tuple[Fix, ...]:
    """Changes that make a job fit together, one after the other the first that suffices, else the first of all; empty where none do."""
    way: list[Fix] = []
    while len(way) < MOST_CHANGES:
        found = fixes(job, hardware)
        if not found:
            return ()
        enough = [each for each in found if each.verdict == "FITS"]
        best = (enough or found)[0]
        way.append(best)
        if enough:
            return tuple(way)
        job = best.job
    return ()


def _seconds_per_sample(job: TuningJob, hardware: Hardware) -> float | None:
    """Of a predicted step; None where none is predicted."""
    try:
        return tuning_step(job, hardware).step_time_s / job.samples_per_step
    except RequestError:
        return None


def _low_dtype(job: TuningJob, hardware: Hardware) -> str:
    """What frozen weights are loaded in: the job's own 16 bits, else the device's, or fp32 where it multiplies in no other."""
    if job.dtype in ("bf16", "fp16"):
        return job.dtype
    return next((name for name in ("bf16", "fp16") if name in hardware.peak_flop_per_s), "fp32")


def _changes(job: TuningJob, low_dtype: str) -> Iterator[tuple[str, TuningJob, bool]]:
    """Single changes: words, the job, and whether it keeps what is trained; frozen weights are in `low_dtype`."""
    if job.objective == "inference":
        yield from _of_inference(job)
        return
    adapters = job.trains_adapters
    if optimizer(job.optimizer).step_copies:
        yield "step without a copy of the parameters: --optimizer adamw_torch_fused", replace(job, optimizer="adamw_torch_fused"), True
    if job.optimizer.startswith("adamw") and "8bit" not in job.optimizer and not adapters:
        yield "8-bit moments: --optimizer adamw_8bit", replace(job, optimizer="adamw_8bit"), True
    if job.loss in ("plain", "plain-kept"):
        yield "head and loss in chunks (TRL's default, Liger's kernel): --loss chunked", replace(job, loss="chunked"), True
    if adapters and job.weights_dtype == "fp32" and job.autocast:
        loaded = replace(job, weights_dtype=job.autocast)
        yield f"frozen weights loaded in 16 bits (dtype={job.autocast}): --precision {job.autocast}", loaded, True
    if job.attention == "eager":
        yield "a fused attention kernel: --attention sdpa", replace(job, attention="sdpa"), True
    if job.checkpointing == "none":
        yield "recompute activations: --checkpointing full", replace(job, checkpointing="full"), True
    if job.checkpointing == "full":
        yield "keep layers' inputs on the host: --checkpointing offload", replace(job, checkpointing="offload"), True
    if job.micro_batch > 1:
        half = job.micro_batch // 2
        steps = -(-job.micro_batch * job.accumulation // half)
        smaller = replace(job, micro_batch=half, accumulation=steps)
        yield f"smaller passes, as large a step: --batch {half} --accumulation {steps}", smaller, True
    if adapters and job.method.base_format == PLAIN:
        quantised = replace(job, method=replace(job.method, base_format="nf4-double"))
        yield "4-bit weights below the adapters: --method qlora --base-format nf4-double", quantised, False
    if adapters and job.method.base_format == "nf4":
        yield "scales quantised in turn: --base-format nf4-double", replace(job, method=replace(job.method, base_format="nf4-double")), True
    if job.sharding == "none":
        yield "one more device, weights shared out: --gpus 2 --sharding fsdp", replace(job, sharding="fsdp", num_gpus=2), True
    if job.sharding == "ddp":
        yield "share out weights and state: --sharding fsdp", replace(job, sharding="fsdp"), True
    if job.sharding in ("zero-1", "zero-2"):
        yield "share out weights too: --sharding zero-3", replace(job, sharding="zero-3"), True
    if job.sharding.startswith("zero") and not job.offload.optimizer:
        yield "optimizer state on the host: --offload optimizer", replace(job, offload=replace(job.offload, optimizer=True)), True
    if job.sharding in ("fsdp", "zero-3") and not job.offload.parameters:
        offload = Offload(optimizer=True, parameters=True, activations=job.offload.activations)
        yield "weights and state on the host: --offload optimizer,parameters", replace(job, offload=offload), True
    if job.seq_len > 1:
        yield f"cut samples at half the length: --seq-len {job.seq_len // 2}", replace(job, seq_len=job.seq_len // 2), False
    if job.method.rank > 1:
        half = job.method.rank // 2
        yield f"half the rank: --lora-rank {half}", replace(job, method=replace(job.method, rank=half)), False
    if not adapters and job.method.frozen_layers is None:
        method = replace(job.method, rank=16, targets=("all-linear",))
        yield "adapters in place of all weights: --method lora --lora-rank 16", replace(job, method=method, weights_dtype=low_dtype), False


def _of_inference(job: TuningJob) -> Iterator[tuple[str, TuningJob, bool]]:
    if job.method.base_format == PLAIN:
        yield "4-bit weights: --base-format nf4-double", replace(job, method=replace(job.method, base_format="nf4-double")), False
    if job.micro_batch > 1:
        yield f"fewer sequences at once: --batch {job.micro_batch // 2}", replace(job, micro_batch=job.micro_batch // 2), True
    if job.num_gpus == 1:
        yield "layers over two devices: --gpus 2 --sharding device-map", replace(job, num_gpus=2, sharding="device-map"), True
