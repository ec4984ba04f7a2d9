"""A measured row of serving: the deployment, the load, and what was measured; or why it cannot be compared."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping

from estimators.errors import RequestError
from estimators.facts.registry import hardware
from estimators.frozen import field, frozen
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import sixteen_of
from estimators.serving.figures import CLOSED, SATURATED, STATIC, Asked
from estimators.validation.model import shipped_model
from estimators.validation.serving_names import engine_of, format_of, model_id_of
from estimators.validation.table import LeftOutError, Record

INFERENCEX = "InferenceX-via-aiconfigurator"

PARTS = 5
"""Of InferenceX's deployments, each left out of a fit of its own."""

NOMINAL = 0.9
"""Mean length over the nominal one in InferenceX's own runs, which draw lengths evenly from 0.8 of it on. Source: InferenceX, benchmarks,
`--random-range-ratio 0.8`."""

ASSUMED_INPUT = {"task gpqa": 250.0, "": 150.0}
"""What a row's notes hold -> tokens of a prompt, in ML.ENERGY's steady states, whose file states none."""

RANDOM = (INFERENCEX, "sgl-cookbook", "ROCm-vllm-docs")
"""Sources whose prompts are random tokens."""

CHAT_TOKENS = 1
"""Of a prompt that is not stated."""


@frozen
class ServingCase:
    """One measured row.

    Attributes:
        source: who measured.
        asked: the load.
        random_tokens: whether prompts are random tokens.
        plain: whether speculation is known to be off.
        release: of the engine, and the day.
        measured: quantity -> value in base units.
        assumed: what rules put where the row leaves cells out.
    """

    id: str
    source: str
    deployment: Deployment
    asked: Asked
    random_tokens: bool
    plain: bool
    measured: Mapping[str, float] = field(hash=False)
    release: str = ""
    assumed: tuple[str, ...] = ()

    @property
    def benchmark(self) -> str | None:
        """Whose habits of streaming a closed loop has: of InferenceX's runs those of nominal lengths are its own; None for no benchmark."""
        if self.asked.load != CLOSED:
            return None
        return self.source if self.source != INFERENCEX or any(words.startswith("lengths") for words in self.assumed) else ""

    @property
    def fold(self) -> str:
        """What its constants must not have seen when it is scored: its source; of InferenceX a fifth of the deployments, its own among
        them."""
        if self.source != INFERENCEX:
            return self.source
        d = self.deployment
        told = f"{d.model.name} {d.hardware.id} {d.engine.id} {d.weights} {d.tp} {d.pp} {d.dp} {d.ep}"
        return f"{self.source} part {zlib.crc32(told.encode()) % PARTS}"

    @property
    def machine(self) -> str:
        """The same where all rows of its device are left out, too: of other sources the source."""
        return f"{self.source} {self.deployment.hardware.id}" if self.source == INFERENCEX else self.source


def serving_case(record: Record) -> ServingCase:
    """The case of a row of serve_rows.csv's columns.

    Raises:
        LeftOutError: a doubtful row, a model, device, engine, format or load that is not covered, a layout that does not add up.
    """
    if record.broken:
        raise LeftOutError(record.broken)
    if record.text("confidence") == "low":
        raise LeftOutError("its source is of low confidence")
    try:
        return _case(record)
    except RequestError as error:
        raise LeftOutError(str(error)) from None


def _case(record: Record) -> ServingCase:
    assumed: list[str] = []
    deployment = _deployment(record, assumed)
    load, sequences = _load(record)
    source = record.text("source")
    input_tokens = record.number("input_len")
    output_tokens = record.number("output_len") or 1.0
    if input_tokens is None:
        said = next(words for words in ASSUMED_INPUT if words in record.text("notes"))
        input_tokens = ASSUMED_INPUT[said] if load == SATURATED else CHAT_TOKENS
        assumed.append(f"prompts, {input_tokens:g} tokens")
    is_nominal = source == INFERENCEX and bool(record.text("date"))
    if is_nominal:
        input_tokens, output_tokens = NOMINAL * input_tokens, NOMINAL * output_tokens
        assumed.append(f"lengths, {NOMINAL:g} of the nominal ones")
    measured = _measured(record, load)
    if not measured:
        raise LeftOutError("no latency and no energy in the row")
    return ServingCase(
        id=record.id,
        source=source,
        deployment=deployment,
        asked=Asked(
            load=load,
            sequences=sequences,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            alike=source == INFERENCEX and not is_nominal and not deployment.engine.mixed,
        ),
        random_tokens=source in RANDOM,
        plain=record.text("speculative") in ("", "none"),
        measured=measured,
        release=f"{record.text('version')} {record.text('date')}",
        assumed=tuple(assumed),
    )


def _load(record: Record) -> tuple[str, float]:
    said = record.text("load")
    batch, users = record.number("batch"), record.number("concurrency")
    if "disaggregated" in said:
        raise LeftOutError("prompts are read by other devices than those that decode")
    if said.startswith("static"):
        return STATIC, batch or users or 1.0
    if said.startswith("saturated") and (batch or users):
        return SATURATED, batch or users or 1.0
    if said.startswith("closed") and users:
        return CLOSED, users
    raise LeftOutError(f"load {said[:40]!r} is not covered; expected a static batch, a closed loop or a saturated state")


def _measured(record: Record, load: str) -> dict[str, float]:
    """Quantities by our names. Raises LeftOutError for a cell that is no number."""
    first, next_token, whole = (record.number(name) for name in ("ttft_s", "itl_s", "e2e_s"))
    by_token = "tpot_s" if "TPOT" in record.text("itl_stat") else "itl_s"
    names = ("prefill_s", "decode_s", "generation_s") if load == STATIC else ("ttft_s", by_token, "e2e_s")
    found = dict(zip(names, (first, next_token, whole), strict=True)) | {"energy_j_per_token": record.number("energy_j_per_output_token")}
    return {name: value for name, value in found.items() if value}


def _deployment(record: Record, assumed: list[str]) -> Deployment:
    engine = engine_of(record.text("engine"), record.text("version"), record.text("date"))
    if record.text("source") == INFERENCEX and engine.until:
        engine = engine_of(record.text("engine"), "", "2025")
    if not record.text("hardware_id"):
        raise LeftOutError(f"device {record.text('gpu')[:40]!r} is not known")
    device = hardware(record.text("hardware_id"))
    model = shipped_model(model_id_of(record.text("sixnd_model"), record.text("model")))
    weights = format_of(record.text("weights"), record.text("model"))
    if not record.text("weights"):
        assumed.append(f"weights, {weights}")
    tp, pp, ep, dp = _layout(record, engine.engine, assumed)
    kv = record.text("kv").casefold().removeprefix("16-bit").removeprefix("as the checkpoint")
    if not kv and engine.engine == "tensorrt-llm" and weights.startswith(("fp8", "nvfp4")):
        kv = "fp8"
        assumed.append("cache, fp8")
    has_experts = any(op == "experts" for op in _components(model.name))
    return Deployment(
        model=model,
        hardware=device,
        engine=engine,
        tp=tp,
        pp=pp,
        dp=dp,
        ep=ep if has_experts else 1,
        weights=weights,
        compute=sixteen_of(device, "bf16"),
        kv=kv or "bf16",
    )


@functools.cache
def _components(model_id: str) -> frozenset[str]:
    from estimators.spec import Workload

    return frozenset(op.component for op in shipped_model(model_id).ops(Workload()))


def _layout(record: Record, engine: str, assumed: list[str]) -> tuple[int, int, int, int]:
    """Degrees of a replica. Raises LeftOutError where they do not add up to its devices."""
    tp, pp, ep, dp = (record.whole(name, 1) or 1 for name in ("tp", "pp", "ep", "dp"))
    devices = record.whole("num_gpus") or tp * pp * dp
    if engine == "llama.cpp":
        assumed.append("devices are pipeline stages")
        return 1, devices, 1, 1
    if ep > 1 and tp * dp == ep * ep == devices:
        assumed.append(f"devices, {ep}: the table's {devices} repeat rows of {ep}")
        devices, tp, dp = ep, (tp // ep if tp >= ep else tp), (dp // ep if dp >= ep else dp)
    if ep > 1 and tp == dp == 1 and devices == ep:
        assumed.append(f"attention over {ep} devices")
        tp = ep
    if tp * dp == devices and pp > 1 and tp * dp * pp != devices:
        pp = 1
    if tp * pp * dp != devices or ep > tp * dp or tp * dp % ep:
        raise LeftOutError(f"tp {tp}, pp {pp}, dp {dp} and ep {ep} do not add up to {devices} devices")
    return tp, pp, ep, dp
