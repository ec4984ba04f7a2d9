"""The constants of a served step: one data file, shared ones and those of each engine's generation, each with its prior and its fit."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from estimators.cost.array_math import Lane
from estimators.facts import data
from estimators.facts.fitted import fitted_values
from estimators.frozen import frozen
from estimators.serving.engines import Engine

ENGINE_CONSTANTS = ("step_s", "sequence_s", "eager_layer_s", "floor_layer_s", "experts")
"""What each generation of an engine has of its own: `vllm.step_s` in the data file."""

FIRST_TOKEN_CONSTANTS = ("first_reading",)
"""What each has of its first token besides."""

LATER = "2025-01"
"""Month from which engines bring all-reduces of a later kind."""


@frozen
class ServingConstants:
    """Constants of one engine's generation; `data/serving_constants.json` says where each comes from.

    Attributes:
        bandwidth_16, bandwidth_8, bandwidth_4, bandwidth_int: share of the memory's bandwidth at which matrices in 16 bits, in floats of 8
            and 4, and in integers are read.
        bandwidth_experts, bandwidth_cache, bandwidth_elements: the same of experts, of the cache, and of element-wise work.
        products_16, products_8, products_4: share of the matmul ceiling that products reach in 16 bits, and in floats of 8 and 4.
        products_weights: the same in 16 bits where weights are unpacked first.
        products_experts: factor on that share for experts.
        attention, attention_decode: share of the 16-bit ceiling that attention reaches where prompts are read, and in decode steps.
        knee: how sharply a product goes from reading its weights to its arithmetic.
        popularity, popularity_random: how even routing is: shape of the gamma distribution that experts' popularity has, for texts and for
            the random tokens of benchmarks.
        layer_s, expert_layer_s: of a layer's kernels in a recorded graph, and more where it has experts.
        reduce_s, reduce_early_s: of an all-reduce of two devices with a link, by engines from 2025 on, and before.
        reduce_growth: of that time, for each doubling of the devices.
        reduce_unlinked_s: the same without a link.
        link, network: shares of the rated scale-up and scale-out bandwidth that engines' collectives reach.
        expert_wait: factor on experts' time for each doubling of the devices that share them out: the fullest is waited for.
        floor_experts: factor on an engine's floor of a layer where all layers have experts.
        step_s, sequence_s: what the engine's host takes for each step, and for each sequence in it.
        eager_layer_s: what it takes to issue one layer where no graph is recorded; a step is no shorter.
        floor_layer_s: the same of a step that reads prompts, where graphs are recorded of decode steps alone.
        experts: factor on all that experts take in the engine's kernels.
        port_cdna2, port_cdna3, port_xe: factors on all that a device does where an engine's kernels for it were young: Instinct in engines
            before 2025, and Intel's data-centre GPUs.
    """

    bandwidth_16: Lane
    bandwidth_8: Lane
    bandwidth_4: Lane
    bandwidth_int: Lane
    bandwidth_experts: Lane
    bandwidth_cache: Lane
    bandwidth_elements: Lane
    products_16: Lane
    products_8: Lane
    products_4: Lane
    products_weights: Lane
    products_experts: Lane
    attention: Lane
    attention_decode: Lane
    knee: Lane
    popularity: Lane
    popularity_random: Lane
    layer_s: Lane
    expert_layer_s: Lane
    reduce_s: Lane
    reduce_early_s: Lane
    reduce_growth: Lane
    reduce_unlinked_s: Lane
    link: Lane
    network: Lane
    expert_wait: Lane
    floor_experts: Lane
    step_s: Lane
    sequence_s: Lane
    eager_layer_s: Lane
    floor_layer_s: Lane
    experts: Lane
    port_cdna2: Lane
    port_cdna3: Lane
    port_xe: Lane
    port_cdna2_late: Lane
    port_cdna3_late: Lane

    def weights_bandwidth(self, kind: str) -> Lane:
        """Share of bandwidth at which matrices of a kind of format are read."""
        return {"16": self.bandwidth_16, "8": self.bandwidth_8, "4": self.bandwidth_4, "int": self.bandwidth_int}[kind]

    def products(self, kind: str, is_native: bool) -> Lane:
        """Share of their ceiling that products of a kind of format reach."""
        if not is_native and kind != "16":
            return self.products_weights
        return {"16": self.products_16, "8": self.products_8, "4": self.products_4}[kind]

    def port(self, name: str) -> Lane:
        """Factor on a device's work; 1 where kernels are what NVIDIA's and later ones are."""
        return getattr(self, f"port_{name}") if name else 1.0


PORTS = {"CDNA2": "cdna2", "CDNA3": "cdna3", "Xe-HPC": "xe"}
"""Architectures -> whose factor a young port has."""


def port_of(architecture: str, engine: Engine) -> str:
    """Whose factor a device's work has under an engine's generation; empty for none."""
    found = next((name for begins, name in PORTS.items() if architecture.startswith(begins)), "")
    return f"{found}_late" if found.startswith("cdna") and is_late(engine) else found


SHARED_CONSTANTS: tuple[str, ...] = tuple(name for name in ServingConstants._fields if name not in ENGINE_CONSTANTS)  # type: ignore[attr-defined]
"""What all engines share."""


@functools.cache
def constants_file() -> dict[str, Any]:
    """The whole data file."""
    body: dict[str, Any] = data.read_json(data.file("serving_constants.json"))
    return body


@functools.cache
def serving_constants(engine: Engine, without: str = "") -> ServingConstants:
    """The constants of an engine's generation, as fitted on all sources, or on all but one.

    Raises:
        BadValueError: no fit without that source is in the file.
    """
    return constants_at(fitted_values(constants_file(), without), engine.id)


def constants_at(values: Mapping[str, Lane], engine_id: str) -> ServingConstants:
    """The constants of an engine's generation out of those of all, by their names in the data file."""
    shared = {name: values[name] for name in SHARED_CONSTANTS}
    return ServingConstants(**shared, **{name: values[f"{engine_id}.{name}"] for name in ENGINE_CONSTANTS})


def practice(source: str, without: str = "") -> float:
    """Factor on a step by how a known benchmark measures and tunes; 1 for any other.

    Args:
        without: as `serving_constants`.
    """
    return float(fitted_values(constants_file(), without).get(f"practice.{source}", 1.0))


def is_late(engine: Engine) -> bool:
    """Whether an engine's all-reduces are of the later kind."""
    return engine.since >= LATER
