"""The FLOP of a step in the user's training loop: the sum over its passes, by the op table, else each counted on meta."""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import nn

from bench.callbacks.exchange import num_ranks
from bench.callbacks.given import documents_in, look_of, row_of
from bench.callbacks.guard import Guard
from bench.callbacks.modules import bare, config_of, is_sharded, num_params, recomputes
from bench.callbacks.passes import Event, Forward, Passes, PassLedger, StepFunction
from bench.callbacks.work import NOTHING, Work, WorkOfLengths, WorkOfTable, total
from bench.records.estimated import Estimated, EstimatedPhase, FlopByConvention
from bench.records.record import Count
from bench.records.run import Run
from estimators.errors import SixndError, UnavailableError
from estimators.spec import Case, Hardware, Workload

if TYPE_CHECKING:  # what counts and estimates is imported when the first pass is seen: most of the time of an import
    from bench.callbacks.counted import Counter
    from estimators.architectures.decoder import Decoder

MAX_KNOWN = 10_000
"""Steps of different passes, and sums of work, that are remembered."""


class FlopSource:
    """What the passes of a training are, each kind known by the shapes of everything that its forward is given.

    By the op table where it is this very module's (causal, on text, as many parameters, all trained), else counted on meta.

    Args:
        model: as it was given to be watched.
        name: of the model in the record.
        guard: of this training.
        function: function(model, batch) in place of the passes that are seen; see Watch.

    Attributes:
        passes: of the step that is open.
        counting_s: what learning kinds of pass took.
        aside: called before and after that, which is no training.
        reason: why the FLOP of a step are not known; empty where those of all are.
        unseen: why no pass was seen, where that is known.
    """

    def __init__(self, model: nn.Module, name: str, guard: Guard, function: StepFunction | None = None) -> None:
        self._model, self._name, self._function = model, name, function
        self.passes = PassLedger(
            lambda number, forward: guard("training_flop", self.learn, number, forward),
            lambda event, forward: guard("training_flop", self.learn_outputs, event, forward),
        )
        self._tables: dict[int, Decoder | None] = {}
        self._kinds: defaultdict[int, _Kind] = defaultdict(_not_ended)
        self._outputs: defaultdict[tuple[int, tuple[int, ...]], _Kind] = defaultdict(_not_ended)
        self._own_counter: Counter | None = None
        self._same: dict[Work, Work] = {}
        self._known: dict[Passes | None, Work] = {}
        self.reason = self.unseen = ""
        self.counting_s = 0.0
        self.aside: tuple[Callable[[], object], Callable[[], object]] = (lambda: None, lambda: None)

    @property
    def _counter(self) -> Counter:
        from bench.callbacks.counted import Counter

        self._own_counter = self._own_counter or Counter()
        return self._own_counter

    def learn(self, number: int, forward: Forward) -> None:
        """A kind of pass is about to happen for the first time."""
        self._kinds[number] = self._learnt(lambda: self._kind(forward))

    def learn_outputs(self, event: Event, forward: Forward) -> None:
        """A backward pass from some outputs of a kind of forward pass has happened for the first time."""
        self._outputs[event.of, event.outputs] = self._learnt(
            lambda: _Kind(counted=self._counter.works(forward, self._function, outputs=event.outputs))
        )

    def _learnt(self, count: Callable[[], _Kind]) -> _Kind:
        begun_s, (leave, enter) = time.perf_counter(), self.aside
        leave()
        try:
            return count()
        except SixndError as error:
            return _Kind(reason=f"not counted: {error}")
        finally:
            enter()
            self.counting_s += time.perf_counter() - begun_s

    def see_batch(self, batch: Any) -> None:
        """A batch of the step that is open, which the function runs."""
        assert self._function is not None
        model, passes = bare(self._model), self.passes
        passes.by_function = True
        forward = Forward(model, (batch,), {}, {}, is_text=False, trains_all=False)
        number = passes.number(("batch", look_of(batch)), forward)
        passes.add(Event("forward", number, None))
        passes.add(Event("backward", number, None))

    def _kind(self, forward: Forward) -> _Kind:
        table = self._table_of(forward.module) if forward.is_text and forward.trains_all else None
        if table is not None:
            rows, length = forward.named["input_ids"].shape
            return _Kind(table=WorkOfTable(table, _recompute(forward.module)), rows=rows, length=length)
        if is_sharded(self._model):
            raise UnavailableError("the parameters are shared out over the ranks, and the model has no op table")
        if not (forward.is_text and documents_in(forward.named)):
            return _Kind(counted=self._counter.works(forward, self._function))
        whole = int(forward.named["input_ids"].shape[1])
        lengths = {whole, whole // 2 or 1, whole // 4 or 1}
        rows = {length: forward._replace(args=(), kwargs=row_of(forward.named, length)) for length in lengths}
        counts = {length: self._counter.works(row) for length, row in rows.items()}
        return _Kind(counted=self._counter.works(forward), lengths=WorkOfLengths(counts))

    def _table_of(self, module: nn.Module) -> Decoder | None:
        if id(module) not in self._tables:
            self._tables[id(module)] = _op_table(module, self._name)
        return self._tables[id(module)]

    @property
    def _only_table(self) -> Decoder | None:
        """The watched model's own, where nothing else was computed."""
        by_table = all(kind.table is not None for kind in self._kinds.values())
        return self._table_of(bare(self._model)) if by_table and len(self._tables) == 1 else None

    def work_of(self, passes: Passes | None) -> Work | None:
        """Of a step, from its passes; None where one of them is not known, and then there is a reason."""
        known = self._known.get(passes)
        if known is not None:
            return known
        if passes is None:
            no_pass = self.unseen or f"no forward pass of {type(bare(self._model)).__name__} was seen"
            self.reason = self.reason or self.passes.unknown or no_pass
            return None
        try:
            whole = total([self._of(event).times(count) for event, count in passes])
        except UnavailableError as error:
            self.reason = self.reason or str(error)
            return None
        whole = self._same.setdefault(whole, whole) if len(self._same) < MAX_KNOWN else whole
        if len(self._known) < MAX_KNOWN and not any(event.documents for event, _ in passes):
            self._known[passes] = whole
        return whole

    def _of(self, event: Event) -> Work:
        kind = self._outputs[event.of, event.outputs] if event.outputs else self._kinds[event.of]
        if kind.reason:
            raise UnavailableError(kind.reason)
        lengths = event.documents.lengths() if event.documents is not None else None
        if kind.table is not None:
            return kind.table.of_documents(event.kind, lengths) if lengths else kind.table.of_rows(event.kind, kind.rows, kind.length)
        if lengths:
            if kind.lengths is None:
                raise UnavailableError("documents are packed into rows, and the model has no op table")
            return kind.lengths.of_documents(event.kind, lengths)
        return kind.counted[event.kind]

    def estimate(
        self, run: Run, micro_rows: int, hardware: Hardware | None, usual: Work | None
    ) -> tuple[Estimated, list[Count], dict[str, str]]:
        """The estimate of a record, its counts, and what is unavailable.

        Args:
            run: of the usual step's sizes.
            micro_rows: rows of a batch in it.
            usual: the work of that step.
        """
        missing = {"training_flop": self.reason} if self.reason else {}
        if usual is None or usual == NOTHING:
            return Estimated(), [], missing or {"training_flop": "no pass of the usual step was seen"}
        table = self._only_table
        if table is None:
            said, counts, more = self._counted_estimate(run, hardware, usual)
        else:
            said, counts, more = _table_estimate(table, bare(self._model), run, micro_rows, hardware, usual)
        return said, counts, missing | more

    def _counted_estimate(self, run: Run, hardware: Hardware | None, usual: Work) -> tuple[Estimated, list[Count], dict[str, str]]:
        params = sum(p.numel() for p in bare(self._model).parameters())
        weights_bytes = sum(p.numel() * p.element_size() for p in self._model.parameters())
        missing: dict[str, str] = {"memory_needed": "the model has no op table"}
        if self._counter.unseen:
            missing["training_flop of " + ", ".join(self._counter.unseen)] = "torch has no formula for it"
        done = EstimatedPhase(
            flop=FlopByConvention(full=usual.full_flop, hardware=usual.hardware_flop),
            forward_flop=usual.forward_flop,
            backward_flop=usual.full_flop - usual.forward_flop,
            min_flop=usual.min_flop,
            min_bytes=weights_bytes,
            bound_s=None,  # what must move at least is not known
            bound_by="",
            rule_flop=6 * params * run.batch * run.seq_len,
            rule_bytes=weights_bytes,
        )
        said = Estimated(
            params=params,
            memory_bytes={},
            phases={"train_step": done},
            rules=(),
            hardware=hardware.id if hardware else None,
            peak_flop_per_s=hardware.peak_flop_per_s.get(run.dtype) if hardware else None,
            peak_bytes_per_s=hardware.memory_bytes_per_s if hardware else None,
        )
        counts = [
            Count(quantity=name, route="torch's dispatcher on meta", value=value, tag="counted")
            for name, value in (("forward_flop", done.forward_flop), ("backward_flop", done.backward_flop))
        ]
        return said, counts, missing


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Passes of one kind: by a table, each row for itself; or counted, by kind of event; or not known for a reason.

    Of rows that may be packed, what a document of any length counts, too.
    """

    table: WorkOfTable | None = None
    rows: int = 0
    length: int = 0
    counted: dict[str, Work] = dataclasses.field(default_factory=dict)
    lengths: WorkOfLengths | None = None
    reason: str = ""


def _not_ended() -> _Kind:
    return _Kind(reason="its count did not come to an end")


def _recompute(module: nn.Module) -> str:
    return "full" if recomputes(module) else "none"


def _op_table(module: nn.Module, name: str) -> Decoder | None:
    from estimators.architectures.decoder import Decoder
    from estimators.architectures.from_config import model_from_config
    from estimators.counting.estimate import estimate

    config = config_of(module)
    has_head = getattr(module, "get_output_embeddings", lambda: None)() is not None
    if not (config.get("model_type") and has_head) or config.get("layerdrop"):
        return None
    try:
        table = model_from_config(config, name)
    except SixndError:
        return None
    if not isinstance(table, Decoder) or table.left_out:
        return None
    params = num_params(module)
    said = estimate(Case(model=table, workload=Workload(phase="train"))).params
    return table if params is None or params == said else None


def _table_estimate(
    table: Decoder, module: nn.Module, run: Run, micro_rows: int, hardware: Hardware | None, usual: Work
) -> tuple[Estimated, list[Count], dict[str, str]]:
    from bench.records.run_estimate import memory_needed, predict
    from estimators.counting.estimate import MASTER_BYTES

    run = dataclasses.replace(run, recompute=_recompute(module))
    said = predict(table, run, hardware)
    said |= Estimated(memory_bytes=memory_needed(table, dataclasses.replace(run, batch=micro_rows)))
    missing: dict[str, str] = {}
    if any(p.element_size() != MASTER_BYTES for p in module.parameters()):
        said |= _of_weights_of_another_dtype(said, module, hardware)
        missing["memory_needed"] = "the weights are not fp32, for which the estimate is"
    sharded = is_sharded(module)
    if sharded:
        said |= Estimated(memory_bytes={})
        missing["memory_needed"] = "the parameters are shared out over the ranks"
    if usual.full_flop != said.phases["train_step"].flop.full:
        said |= _of_other_passes(said, usual, hardware)
        missing["predicted_step_s"] = "the usual step is not one forward and one backward pass of whole rows"
    else:
        try:
            said |= _predicted(table, run, micro_rows, sharded, hardware)
        except SixndError as error:
            missing["predicted_step_s"] = str(error)
    done = said.phases["train_step"]
    counts = [
        Count(quantity="params", route="op table", value=said.params, tag="derived"),
        Count(quantity="forward_flop", route="op table", value=done.forward_flop, tag="derived"),
        Count(quantity="backward_flop", route="op table", value=done.backward_flop, tag="derived"),
        Count(quantity="training_flop", route="op table", value=done.flop.full, tag="derived"),
    ]
    return said, counts, missing


def _of_other_passes(said: Estimated, usual: Work, hardware: Hardware | None) -> Estimated:
    """A step of other passes than one forward and one backward of each batch; what one of these must move, it must move, too."""
    done = said.phases["train_step"].replaced(
        flop=FlopByConvention(full=usual.full_flop, causal=usual.causal_flop, hardware=usual.hardware_flop),
        convention=usual.convention,
        forward_flop=usual.forward_flop,
        backward_flop=usual.full_flop - usual.forward_flop,
        min_flop=usual.min_flop,
    )
    return Estimated(phases={"train_step": _bounded(done, done.min_bytes, said, hardware)}, rules=())


def _predicted(table: Decoder, run: Run, micro_rows: int, sharded: bool, hardware: Hardware | None) -> Estimated:
    """The step that `estimate` predicts for this training, its ranks by data parallelism.

    Raises:
        SixndError: there is no prediction for it; one line says why.
    """
    from estimators.cost.layout import Layout
    from estimators.training import prediction

    if hardware is None:
        raise UnavailableError("no prediction for a device that the registry does not know")
    replicas = num_ranks()
    layout = Layout(
        dp=replicas,
        zero=3 if sharded else 0,
        micro_batch=micro_rows,
        global_batch=max(1, run.batch // micro_rows) * micro_rows * replicas,
        recompute=run.recompute,
    )
    said = prediction.predict(table, run.seq_len, layout, hardware, dtype=run.dtype)
    return Estimated(predicted_step_s=said.step_time_s, predicted_low_s=said.low_s, predicted_high_s=said.high_s)


def _of_weights_of_another_dtype(said: Estimated, module: nn.Module, hardware: Hardware | None) -> Estimated:
    """The estimate's memory and bytes are of fp32 weights; of others only what is sure is kept: every weight is read once."""
    min_bytes = sum(p.numel() * p.element_size() for p in module.parameters())
    return Estimated(memory_bytes={}, phases={"train_step": _bounded(said.phases["train_step"], min_bytes, said, hardware)})


def _bounded(done: EstimatedPhase, min_bytes: int, said: Estimated, hardware: Hardware | None) -> EstimatedPhase:
    """The phase with its bound from what must be computed and what must be moved, where there was one."""
    bound_s, peak = done.bound_s, said.peak_flop_per_s
    if bound_s is not None and hardware is not None and peak is not None:
        bound_s = max(done.min_flop / peak, min_bytes / hardware.memory_bytes_per_s)
    return done.replaced(min_bytes=min_bytes, bound_s=bound_s)
