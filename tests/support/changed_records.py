"""Records made by hand with one thing changed, and what the cross-check says of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from bench.cli.main import main
from bench.records.draft import write
from bench.records.environment import DeviceFacts, Environment
from bench.records.estimated import Estimated
from bench.records.extrapolation import Extrapolation
from bench.records.proof import Proof
from bench.records.record import Count, Measurement, Phase
from bench.sampling.presets import preset
from estimators.facts.registry import hardware
from reports.checks.check import Check
from reports.checks.crosscheck import crosscheck, failed
from tests.support.tiny_models import CEILINGS, record

A100 = hardware("a100-sxm4-80gb")
"""312 TFLOP/s in bf16, 19.5 in fp32, 2,039 GB/s."""
PEAK_FLOP_PER_S, PEAK_BYTES_PER_S = A100.peak("fp32"), A100.memory_bytes_per_s


def by_metric(made: Measurement) -> dict[str, Check]:
    checks = crosscheck(made)
    assert len({check.metric for check in checks}) == len(checks)
    return {check.metric: check for check in checks}


def failures(made: Measurement) -> list[str]:
    return [check.metric for check in failed(crosscheck(made))]


def exit_code(made: Measurement, folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    write(made, folder / f"{made.run_id}.json")
    return main(["report", str(folder)])


def with_phase(made: Measurement, name: str, **fields: Any) -> Measurement:
    return dataclasses.replace(made, phases=tuple(dataclasses.replace(p, **fields) if p.name == name else p for p in made.phases))


def with_proof(made: Measurement, **fields: Any) -> Measurement:
    return dataclasses.replace(made, proof=made.proof | Proof(**fields))


def with_count(made: Measurement, index: int, **fields: Any) -> Measurement:
    return dataclasses.replace(
        made, counts=tuple(dataclasses.replace(count, **fields) if i == index else count for i, count in enumerate(made.counts))
    )


def with_rule(made: Measurement, **fields: Any) -> Measurement:
    first, *others = made.estimate.rules
    return dataclasses.replace(made, estimate=made.estimate | Estimated(rules=(first.replaced(**fields), *others)))


def with_ceiling(made: Measurement, kind: str, value: float) -> Measurement:
    return dataclasses.replace(made, ceilings=tuple(dataclasses.replace(c, value=value) if c.kind == kind else c for c in CEILINGS))


def seconds_at(made: Measurement, phase: str, **rate: float) -> float:
    """The time at which a phase has the rate: flop_per_s or bytes_per_s."""
    said = made.estimate.phases[phase]
    ((name, value),) = rate.items()
    return (said.flop.full if name == "flop_per_s" else said.min_bytes) / value


def at_rate(task: str, phase: str, factor: float, **rate: float) -> Measurement:
    made = record(task, hardware=A100)
    seconds = seconds_at(made, phase, **{name: value * factor for name, value in rate.items()})
    # ceilings out of the way, so that the datasheet alone judges
    return dataclasses.replace(with_phase(made, phase, samples_s=(seconds, seconds)), ceilings=())


def slices(per_layer_s: float = 1.0, samples_s: tuple[float, ...] = (2.0,), value_s: float = 4.0) -> Measurement:
    made = record("train", hardware=A100)
    line = extrapolated(phase="train_step", per_layer_s=per_layer_s, value_s=value_s)
    phases = (Phase(name="train_step@1", samples_s=(1.0,)), Phase(name="train_step@2", samples_s=samples_s))
    proof = Proof(**{name: value for name, value in made.proof.stated().items() if name != "num_params"})
    return dataclasses.replace(made, phases=phases, extrapolation=line, proof=proof)


def extrapolated(**fields: Any) -> Extrapolation:
    """A line through slices of 1 and 2 of 4 layers, of 8 tokens a sample."""
    of = {"shallow_layers": 1, "deep_layers": 2, "full_layers": 4, "fixed_s": 0.0, "residual_fraction": 0.01}
    return Extrapolation(**of, items_per_sample=8, item="token", **fields)


def gpu(**fields: Any) -> Measurement:
    held = {"peak_rss": 1, "torch_allocated": 10**9, "torch_reserved": 10**9}
    power = {"energy_j": 400.0, "power_limit_w": 400.0, "window_s": 1.0}
    made = {"memory_bytes": held | fields.pop("memory", {}), "power": power | fields.pop("watched", {})}
    return record("prefill", **made, **fields)


def rigorous(made: Measurement) -> Measurement:
    return dataclasses.replace(made, request=made.request.replaced(preset="rigorous", preset_values=preset("rigorous")))


def busy(made: Measurement) -> Measurement:
    return dataclasses.replace(made, power={"other_processors_fraction": 0.3}, environment=Environment(device=DeviceFacts(kind="cpu")))


def with_trainer_rule(more: int) -> Measurement:
    made = record("train")
    ours = next(rule for rule in made.estimate.rules if rule.name == "transformers' Trainer")
    trainer = Count(quantity="training_flop", route="Trainer rule", value=ours.flop + more, tag="derived")
    return dataclasses.replace(made, counts=(*made.counts, trainer))
