"""Jobs that the tests of the planner share."""

from __future__ import annotations

import functools

from estimators.architectures.from_config import model_from_config
from estimators.facts.registry import hardware, model_entry
from estimators.spec import Model
from estimators.training.layouts.job import Job


@functools.cache
def model(name: str) -> Model:
    """A model of the registry."""
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


def job(name: str, hardware_id: str = "a100-sxm4-80gb", seq_len: int = 2048, dtype: str = "bf16", stack_id: str = "megatron-core") -> Job:
    """A model of the registry on a device of the registry."""
    return Job(model=model(name), hardware=hardware(hardware_id), seq_len=seq_len, dtype=dtype, stack_id=stack_id)
