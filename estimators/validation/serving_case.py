"""A measured row of serving: the deployment, the load, and what was measured; or why it cannot be compared."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from estimators.errors import RequestError
from estimators.facts.registry import hardware
from estimators.frozen import field, frozen
from estimators.serving.budget import budget
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import sixteen_of
from estimators.serving.schedule import Schedule, schedule_of
from estimators.validation.model import shipped_model
from estimators.validation.serving_names import engine_of, format_of, model_id_of
from estimators.validation.table import LeftOutError, Record

INFERENCEX = "InferenceX-via-aiconfigurator"

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
        load: static, closed, saturated or open.
        sequences: of the batch, or users in flight; of open arrivals requests per second.
        input_tokens, output_tokens: of a request, in the mean.
        alike: whether all requests have these lengths.
        random_tokens: whether prompts are random tokens.
        speculation: whether speculation is known to be off.
        measured: quantity -> value in base units.
        assumed: what rules put where the row leaves cells out.
    """

    id: str
    source: str
    deployment: Deployment
    load: str
    sequences: float
    input_tokens: float
    output_tokens: float
    alike: bool
    random_tokens: bool
    plain: bool
    measured: Mapping[str, float] = field(hash=False)
    power_w: float | None = None
    assumed: tuple[str, ...] = ()

    @property
    def machine(self) -> str:
        """The device by its id."""
        return self.deployment.hardware.id


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
        input_tokens = ASSUMED_INPUT[said] if load == "saturated" else CHAT_TOKENS
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
        load=load,
        sequences=sequences,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        alike=source == INFERENCEX and not is_nominal,
        random_tokens=source in RANDOM,
        plain=record.text("speculative") in ("", "none"),
        measured=measured,
        power_w=record.number("power_w"),
        assumed=tuple(assumed),
    )


def _load(record: Record) -> tuple[str, float]:
    said = record.text("load")
    batch, users = record.number("batch"), record.number("concurrency")
    if "disaggregated" in said:
        raise LeftOutError("prompts are read by other devices than those that decode")
    if said.startswith("static"):
        return "static", batch or users or 1.0
    if said.startswith("saturated") and (batch or users):
        return "saturated", batch or users or 1.0
    if said.startswith("closed") and users:
        return "closed", users
    raise LeftOutError(f"load {said[:40]!r} is not covered; expected a static batch, a closed loop or a saturated state")


def _measured(record: Record, load: str) -> dict[str, float]:
    """Quantities by our names. Raises LeftOutError for a cell that is no number."""
    first, next_token, whole = (record.number(name) for name in ("ttft_s", "itl_s", "e2e_s"))
    by_token = "tpot_s" if "TPOT" in record.text("itl_stat") else "itl_s"
    names = ("prefill_s", "decode_s", "generation_s") if load == "static" else ("ttft_s", by_token, "e2e_s")
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


@functools.lru_cache(maxsize=4096)
def schedule_for(deployment: Deployment, tokens: int) -> Schedule:
    """How the deployment schedules, with room for one sequence of so many tokens at least: what was measured has run.

    Raises:
        LeftOutError: weights that the devices have no room for.
    """
    found = budget(deployment)
    if found.weights_bytes > deployment.hardware.memory_bytes:
        raise LeftOutError(
            f"weights of {found.weights_bytes / 1e9:.0f} GB a device, which has {deployment.hardware.memory_bytes / 1e9:.0f}: it is not stated right"
        )
    one = -(-tokens // deployment.engine.block_tokens)
    return schedule_of(deployment, max(found.kv_tokens // deployment.dp // deployment.engine.block_tokens, one + 1))
