"""The deployment that a result is of, as far as the file and whoever imports it say; else the one line that says what is missing."""

from __future__ import annotations

from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError, RequestError
from estimators.facts.device_names import device_named
from estimators.facts.model_names import model_named
from estimators.facts.registry import hardware, hardware_for_device, model_entry
from estimators.frozen import frozen
from estimators.serving.deployment import Deployment
from estimators.serving.engines import Engine, engine
from estimators.serving.results.result import Served
from estimators.spec import Hardware, Model
from estimators.weight_formats import weight_format

LEANEST = "awq"
"""Format at which weights are judged whose format is not known: no bound that follows from it is too high."""

UNSAID = "vllm"
"""Engine of a deployment where none is known; no bound takes anything of it."""

_FORMATS = {"fp4": "nvfp4", "int4": "awq", "bfloat16": "bf16", "float16": "fp16", "auto": "bf16", "f16": "fp16"}
_CACHES = {"f16": "fp16", "auto": "bf16", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8"}


@frozen
class Named:
    """A deployment, or why there is none.

    Attributes:
        missing: what is to be said, in one line; empty where there is a deployment.
        assumed: what was taken for granted.
    """

    deployment: Deployment | None
    missing: str = ""
    assumed: tuple[str, ...] = ()


def deployment_of(served: Served, model: Model | None = None, device: Hardware | None = None) -> Named:
    """The deployment.

    Args:
        model, device: in place of those that the names mean.
    """
    assumed: list[str] = []
    try:
        model = model or _model(served.model)
        device, num_gpus = (device, served.num_gpus) if device else _device(served)
        if num_gpus is None:
            return Named(deployment=None, missing="on how many GPUs is not said: --gpus NUM")
        weights = served.weights.lower()
        if not weights:
            assumed.append(f"the weights' format is not said (--weights NAME): the gate takes {LEANEST}, the leanest; no step is predicted")
        deployment = Deployment(
            model=model,
            hardware=device,
            engine=_engine(served.engine, assumed),
            tp=_tensor_parallel(served, num_gpus),
            pp=served.pp or 1,
            dp=served.dp or 1,
            ep=served.ep or 1,
            weights=weight_format(_FORMATS.get(weights, weights) or LEANEST),
            kv=_CACHES.get(served.kv.lower(), served.kv.lower()) or "bf16",
        )
    except RequestError as error:
        return Named(deployment=None, missing=str(error))
    return Named(deployment=deployment, assumed=tuple(assumed))


def _model(name: str) -> Model:
    """A model that ships, by a name that means one and no other. Raises RequestError."""
    if not name:
        raise BadValueError("the model is not said: --model NAME")
    named = model_named(name)
    if named.said.startswith("taking"):
        raise BadValueError(f"{name[:60]!r} may be several models: say which with --model NAME")
    return model_from_config(model_entry(named.model_id).config, named.model_id)


def _device(served: Served) -> tuple[Hardware, int | None]:
    """A device by what its driver or a person calls it, and how many. Raises RequestError."""
    if not served.hardware:
        raise BadValueError("the device is not said: --hardware NAME")
    known = hardware_for_device(served.hardware)
    if known is not None:
        return known, served.num_gpus
    taken = device_named(served.hardware)
    return hardware(taken.hardware_id), served.num_gpus or taken.num_devices


def _engine(text: str, assumed: list[str]) -> Engine:
    for word in (text, *text.replace(":", " ").replace("/", " ").split()):
        try:
            return engine(word)
        except RequestError:
            continue
    said = f"the engine {text[:40]!r} is not known" if text else "the engine is not said"
    assumed.append(f"{said} (--engine NAME): steps are predicted as {UNSAID}'s")
    return engine(UNSAID)


def _tensor_parallel(served: Served, num_gpus: int) -> int:
    """As said; else all devices, which no bound is too high for."""
    return served.tp or max(1, num_gpus // ((served.pp or 1) * (served.dp or 1)))
