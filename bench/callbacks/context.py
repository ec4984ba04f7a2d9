"""Under what a watched training runs: model, dtype, device, this machine's ceilings, and the estimate made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.backend.ceilings import bandwidth_ceiling, matmul_ceiling
from bench.backend.device import DTYPES, Device
from bench.backend.generators import generators_kept
from bench.callbacks.flop_source import FlopSource
from bench.callbacks.guard import Guard
from bench.callbacks.modules import bare, config_of, is_compiled, num_params, recomputes
from bench.callbacks.passes import Passes
from bench.callbacks.rates import RateBounds
from bench.callbacks.work import Work
from bench.machine import environment
from bench.records.asked import Asked
from bench.records.draft import Draft
from bench.records.environment import DeviceFacts, Environment
from bench.records.estimated import Estimated
from bench.records.proof import Proof
from bench.records.record import Ceiling, Count
from bench.records.request import Request
from bench.records.run import Run
from estimators.errors import RequestError

Shapes = tuple[tuple[int, int], ...]
"""Rows and length of every batch of a step."""

CEILING_TIME_S = 1.0
"""For each of the two; `run` takes three seconds."""

_PRECISIONS = {"bf16": "bf16", "fp16": "fp16"}


def usual_shape(steps: Sequence[Shapes]) -> tuple[int, int, int]:
    """Rows of a step, most rows of a batch in it, and its length: of the most common step; of none, ones.

    >>> usual_shape([((4, 16), (4, 16)), ((4, 16), (4, 16)), ((1, 9),)])
    (8, 4, 16)
    >>> usual_shape([()])
    (1, 1, 1)
    """
    known = Counter(shapes for shapes in steps if shapes)
    if not known:
        return 1, 1, 1
    shapes = known.most_common(1)[0][0]
    length = Counter(length for _, length in shapes).most_common(1)[0][0]
    return sum(rows for rows, _ in shapes), max(rows for rows, _ in shapes), length


def autocast_dtype(kind: str) -> str | None:
    """The dtype of torch.autocast where it is on."""
    if not torch.is_autocast_enabled(kind):
        return None
    return next((name for name, dtype in DTYPES.items() if dtype == torch.get_autocast_dtype(kind)), None)


class TrainingContext:
    """What is known of a training before and after its first step.

    Attributes:
        name: of the model.
        is_open: whether its dtype may still change and the ceilings have not been measured: during the first step.
    """

    def __init__(
        self,
        model: nn.Module,
        device: Device,
        accelerator: Any,
        *,
        name: str | None,
        dtype: str | None,
        optimizer: str | None,
        ceilings: bool | Sequence[Ceiling],
        guard: Guard,
        compiled: bool = False,
        steps: int | None = None,
    ) -> None:
        self._guard = guard
        self._model, self._device, self._optimizer = model, device, optimizer
        self._asked_dtype = dtype or _PRECISIONS.get(str(getattr(accelerator, "mixed_precision", "no")))
        self._seen_dtype: str | None = None
        self._wanted = ceilings
        self._ceilings: list[Ceiling] = []
        self._unavailable: dict[str, str] = {}
        self._config = guard("the model's configuration", config_of, model) or {}
        self._told_compiled, self._steps = compiled, steps
        given = name or getattr(getattr(bare(model), "config", None), "name_or_path", "")
        self.name = (Path(str(given)).name if given else "") or type(bare(model)).__name__
        self.is_open = True

    def draft(self, out: Path) -> Draft:
        """The record to be; raises UnavailableError where the folder cannot be written."""
        draft = Draft(model=self.name, task="train", request=self._run((1, 1, 1)).request, out=out)
        draft.environment = self._guard("environment", environment.collect) or draft.environment
        return draft

    def look_for_autocast(self) -> None:
        """See the dtype of autocast, inside the first forward pass."""
        if self._asked_dtype is None:
            self._seen_dtype = autocast_dtype(self._device.kind)

    @property
    def _compiled(self) -> bool:
        return self._told_compiled or is_compiled(self._model)

    @property
    def dtype(self) -> str:
        """Of compute: as asked, else that of autocast, else the parameters'."""
        of_parameters = next((p.dtype for p in self._model.parameters() if p.is_floating_point()), torch.float32)
        named = next((name for name, dtype in DTYPES.items() if dtype == of_parameters), "fp32")
        return self._asked_dtype or self._seen_dtype or named

    def close(self, flop_source: FlopSource, shapes: Shapes, passes: Passes | None) -> RateBounds:
        """After the first step: measure the ceilings and reset the peaks, once, and say what later steps are held against."""
        if self.is_open:
            self.is_open = False
            self._look_at_the_machine()
        hardware = self._device.hardware()
        rows, micro_rows, length = usual_shape([shapes])
        packed = any(event.documents is not None for event, _ in passes or ())  # where they end is not known before the device is there
        work = None if packed else self._guard("training_flop", flop_source.work_of, passes)
        said = self._estimate(flop_source, self._run((rows, micro_rows, length)), micro_rows, work)[0] if shapes else Estimated()
        return RateBounds(
            peak_flop_per_s=hardware.peak_flop_per_s.get(self.dtype) if hardware else None,
            matmul_flop_per_s=max((c.value for c in self._ceilings if c.kind == "matmul"), default=None),
            predicted_step_s=said.predicted_step_s,
        )

    def _look_at_the_machine(self) -> None:
        if self._wanted is True:
            self._measure()
        elif self._wanted is not False:
            self._ceilings = list(self._wanted)
        else:
            self._unavailable["ceilings"] = "not asked for"
        self._device.reset_peak()

    def _measure(self) -> None:
        """This machine's rates; the random state of the training is left as it is, and so is its memory."""
        own = [self._device.index] if self._device.kind == "cuda" else []
        with generators_kept(devices=own), torch.enable_grad():
            for kind in ("matmul", "bandwidth"):
                try:
                    if kind == "matmul":
                        self._ceilings.append(matmul_ceiling(self._device, self.dtype, CEILING_TIME_S))
                    else:
                        self._ceilings.append(bandwidth_ceiling(self._device, CEILING_TIME_S))
                except (RequestError, RuntimeError, MemoryError) as error:  # the training may have taken all memory
                    self._unavailable[f"{kind} ceiling"] = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if self._device.kind == "cuda":
            torch.cuda.empty_cache()

    def _run(self, usual: tuple[int, int, int], work: Work | None = None) -> Run:
        rows, _, length = usual
        recomputed = recomputes(self._model) or (work is not None and work.hardware_flop > work.full_flop)
        request = Request(
            model=self.name,
            config=self._config,
            task="train",
            batch=rows or None,
            seq_len=length or None,
            dtype=self.dtype,
            device=str(self._device.torch_device),
            attn=getattr(getattr(bare(self._model), "config", None), "_attn_implementation", None),
            compile=self._compiled,
            steps=self._steps,
            optimizer=self._optimizer or "sgd",
            recompute="full" if recomputed else "none",
            seed=torch.initial_seed(),
        )
        return Run(
            model=request.model,
            config=request.config,
            task=request.task,
            batch=rows,
            seq_len=length,
            new_tokens=0,
            num_beams=1,
            dtype=self.dtype,
            optimizer=self._optimizer or "sgd",
            recompute=request.recompute,
            job=None,
            request=Asked(**request.to_dict()),
        )

    def _estimate(
        self, flop_source: FlopSource, run: Run, micro_rows: int, work: Work | None
    ) -> tuple[Estimated, list[Count], dict[str, str]]:
        said = self._guard("estimate", lambda: flop_source.estimate(run, micro_rows, self._device.hardware(), work))
        return said or (Estimated(), [], {})

    def fill(self, draft: Draft, flop_source: FlopSource, usual: tuple[int, int, int], work: Work | None) -> None:
        """Put request, device, estimate, counts and ceilings into the draft; `usual` and `work` are of the most common step."""
        run = self._run(usual, work)
        labels = {
            "dtype_reason": "as asked" if self._asked_dtype else "autocast" if self._seen_dtype else "the parameters'",
            "weights_label": "weights of the training that was watched",
            "input_label": "batches of the training that was watched",
        }
        draft.request = run.request.replaced(**labels)
        facts = self._guard("device", self._device.describe)
        if facts is not None:
            draft.environment |= Environment(device=facts | DeviceFacts(cache_bytes=self._device.cache_bytes()))
        draft.estimate, draft.counts, missing = self._estimate(flop_source, run, usual[1], work)
        draft.ceilings = list(self._ceilings)
        if divided := self._guard("device", self._device.slice_reason):
            self._unavailable["mfu_fraction"] = f"{divided}: the peak of the whole one is not its own"
        draft.unavailable |= self._unavailable | missing
        params = num_params(self._model)
        if params is not None and draft.estimate:
            draft.proof |= Proof(num_params=params)
