"""decide(request) -> run: every decision that a request leaves open, made once; what cannot be run is refused here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bench.backend import device as devices
from bench.backend.device import Device
from bench.machine.ranks import asked_for_cpu
from bench.records.asked import Asked, Preset
from bench.records.request import SERVING, Request
from bench.runs.decisions import dtypes, hyperparameters
from bench.runs.decisions.flags import refuse_meaningless
from bench.runs.decisions.samples import is_of_samples, sample_run
from bench.runs.decisions.sizes import ARTICLE_PROMPT, sizes
from bench.runs.decisions.tuning import tuning_job
from bench.sampling.presets import preset
from bench.workloads.article import subjects, text
from bench.workloads.article.engine import PRECISIONS
from bench.workloads.article.run import ArticleRun
from bench.workloads.language import inputs, loading
from bench.workloads.language.run import LanguageRun
from bench.workloads.samples.run import SampleRun
from bench.workloads.serving.run import ServingRun
from estimators.architectures.decoder import Decoder
from estimators.architectures.from_config import model_from_config, read_config
from estimators.errors import BadConfigError, BadValueError

END_OF_LINE = "\n"
"""The prompt of the small GPT's text: what follows is a new line."""

LANGUAGE_LEARNING_RATE, ADAPTER_LEARNING_RATE = 1e-4, 1e-3
"""The second of adapters, which begin as zero and learn best at about ten times the rate."""

GENERATIONS = {"quick": 1, "standard": 3, "rigorous": 10}
"""At most, by preset."""
DECODE_TIME_S = 600.0


def decide(request: Request, hub_id: str | None = None) -> ArticleRun | LanguageRun | SampleRun | ServingRun:
    """The run that a request asks for, nothing left open.

    Args:
        hub_id: the checkpoint's name in the hub's local cache, if the model has one.

    Raises:
        RequestError: the request cannot be met; one line says why.
    """
    if request.task in SERVING:
        return _serving(request, hub_id)
    if request.is_article:
        return _article(request)
    return sample_run(request, _device(request), preset(request.preset)) if is_of_samples(request) else _language(request, hub_id)


def usual_runs(name: str, config: Mapping[str, Any], device: Device) -> Sequence[ArticleRun | LanguageRun | SampleRun]:
    """What a calibration measures the operators of: a model's prefill, decode and training step at the default sizes, however large.

    Of a model of samples it is a forward pass and a training step.

    Raises:
        BadConfigError: part of a model that takes more than text.
    """
    asked = Request(model=name, config=dict(config), task="train", dtype="fp32", device=str(device.torch_device))
    if asked.is_article:
        return [_article(asked)]
    model = model_from_config(asked.config, name)
    if not isinstance(model, Decoder):
        return [sample_run(dataclasses.replace(asked, task=task), device, preset(asked.preset)) for task in ("forward", "train")]
    if model.left_out:
        raise BadConfigError(f"{name} takes more than text, and is run on examples: expected a causal language model")
    inference = [(task, dtype) for dtype in ("fp32", "bf16") for task in ("prefill", "decode")]
    return [sized(dataclasses.replace(asked, task=task), None, dtype=dtype)[0] for task, dtype in (*inference, ("train", "fp32"))]


def _device(request: Request) -> Device:
    """As asked, by the request or by accelerate's launcher; else the first GPU, else the CPU."""
    return devices.choose("cpu" if request.device is None and asked_for_cpu(os.environ) else request.device)


def _article(request: Request) -> ArticleRun:
    """The training of one of the article's models, with its data drawn or read.

    Raises:
        BadValueError, UnavailableError: see hyperparameters.plan; a device or dtype that cannot be trained in; data that cannot be used.
    """
    plan, thorough = hyperparameters.plan(request), preset(request.preset)
    device, dtype = _device(request), _training_dtype(request)
    if device.kind == "cpu" and dtype == "fp16":
        raise BadValueError("dtype fp16 needs a GPU to train; expected fp32 or bf16 on the CPU")
    prompt, new_tokens = _sample(request, plan) if plan.subject == "text" else ("", 0)
    subject = _subject(request, plan)
    num_train = len(subject.train)
    if plan.batch is not None and plan.batch > num_train:
        raise BadValueError(f"--batch {plan.batch} is more than the {num_train:,} training samples; give a smaller one")
    decided = Asked(**request.to_dict()).replaced(
        config=plan.config,
        batch=plan.batch or num_train,
        seq_len=plan.seq_len,
        dtype=dtype,
        epochs=plan.epochs,
        learning_rate=plan.learning_rate,
        optimizer=plan.optimizer,
        preset_values=thorough,
        weights_label="trained from random weights",
        warmup_fraction=plan.warmup_fraction,
        device=str(device.torch_device),
    )
    return ArticleRun(
        model=request.model,
        config=plan.config,
        task=request.task,
        batch=plan.batch or num_train,
        seq_len=plan.seq_len,
        new_tokens=new_tokens,
        num_beams=1,
        dtype=dtype,
        optimizer=plan.optimizer,
        recompute="none",
        job=None,
        request=decided,
        device=device,
        preset=thorough,
        seed=request.seed,
        subject=subject,
        epochs=plan.epochs,
        learning_rate=plan.learning_rate,
        warmup_fraction=plan.warmup_fraction,
        steps=request.steps,
        max_time_s=request.max_time_s,
        prompt=prompt,
    )


def _training_dtype(request: Request) -> str:
    """As asked, by the request or by accelerate's launcher; else fp32."""
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", PRECISIONS["fp32"])
    dtype = request.dtype or {precision: dtype for dtype, precision in PRECISIONS.items()}.get(launched, launched)
    if dtype not in PRECISIONS:
        raise BadValueError(f"dtype {dtype[:40]!r} cannot be trained in here; expected one of: {', '.join(PRECISIONS)}")
    return dtype


def _sample(request: Request, plan: hyperparameters.Plan) -> tuple[str, int]:
    """The prompt and the number of characters that the trained language model writes after it.

    Raises:
        BadValueError: characters that are not in the alphabet, or more than the model has positions for.
    """
    prompt = request.prompt or END_OF_LINE
    unknown = sorted(set(prompt) - set(text.alphabet()))
    if unknown:
        raise BadValueError(
            f"the prompt has characters that {request.model} does not know: {''.join(unknown)[:40]!r}; it knows {text.alphabet()!r}"
        )
    room = int(plan.config.get("n_positions", 1024)) - len(prompt)
    new_tokens = room if request.new_tokens is None else request.new_tokens
    if not 1 <= new_tokens <= room:
        raise BadValueError(f"--new-tokens {new_tokens} is out of range; expected 1 to {room} after a prompt of {len(prompt)} characters")
    return prompt, new_tokens


def _subject(request: Request, plan: hyperparameters.Plan) -> subjects.Subject:
    """What is learned, its data drawn or read.

    Raises:
        BadValueError: data that cannot be used, or a vocabulary too small for the text.
        UnavailableError: a file that cannot be read.
    """
    if plan.subject == "views":
        return subjects.daily_views(request.data, seed=request.seed, days=plan.days, train_days=plan.train_days)
    if plan.subject == "mails":
        return subjects.spam_mails(request.data, seed=request.seed)
    vocabulary = int(plan.config.get("vocab_size", 0))
    if vocabulary < len(text.alphabet()):
        raise BadValueError(
            f"{request.model} has a vocabulary of {vocabulary}; its text has {len(text.alphabet())} characters: expected at least as many"
        )
    return subjects.short_lines(seed=request.seed, seq_len=plan.seq_len)


def _language(request: Request, hub_id: str | None) -> LanguageRun:
    """One run of a causal language model that fits into memory.

    Raises:
        RequestError: the request cannot be met; one line says why.
    """
    undecided, model = sized(request, hub_id, dtype=dtypes.COMPUTE_DTYPES[0])
    dtype, why = dtypes.decide(request.dtype, undecided, model)
    job = undecided.job
    run = dataclasses.replace(undecided, dtype=dtype, dtype_reason=why)
    decided = Asked(**request.to_dict()).replaced(
        config=run.config,
        batch=run.batch,
        seq_len=run.seq_len,
        new_tokens=run.new_tokens,
        num_beams=run.num_beams,
        dtype=dtype,
        device=str(run.device.torch_device),
        attn=run.attn,
        lora_rank=job.method.rank or None if job else None,
        optimizer=job.optimizer if job else request.optimizer,
        prompt=request.prompt if run.prompt_ids is None else request.prompt or ARTICLE_PROMPT,
        preset_values=run.preset,
        dtype_reason=why,
        weights_label=run.checkpoint.label if run.checkpoint else loading.RANDOM_WEIGHTS,
        input_label=inputs.label(run),
    )
    return dataclasses.replace(run, request=decided)


SERVED_TOKENS = {"seq_len": 64, "new_tokens": 32}
SERVED_SEQUENCES, SERVED_ROUNDS = 4, 3
PAGE_TOKENS = 32
STEP_TOKENS = 256
"""Of a step of transformers' engine, which takes 256 unless told otherwise."""


def _serving(request: Request, hub_id: str | None) -> ServingRun:
    """A server under load that fits into memory with the cache of all sequences that are in flight.

    Raises:
        RequestError: the request cannot be met; one line says why.
    """
    if request.is_article or request.compile or request.batch is not None:
        flag = "--compile" if request.compile else "--batch" if request.batch is not None else "--task serve"
        raise BadValueError(
            f"{flag} has no meaning for a server of {request.model}; expected a causal language model and --concurrency NUM"
        )
    if request.concurrency is not None and request.request_rate is not None:
        raise BadValueError("--concurrency is a closed loop and --rate an open one; leave one of them out")
    if request.attn not in (None, "sdpa"):
        raise BadValueError(f"attention {request.attn[:40]!r} is not served here; expected sdpa")
    refuse_meaningless(request)
    closed = request.concurrency or (None if request.request_rate else SERVED_SEQUENCES)
    requests = request.num_requests or SERVED_ROUNDS * (closed or SERVED_SEQUENCES)
    in_flight = closed or requests
    step = dataclasses.replace(
        request,
        task="decode",
        batch=in_flight,
        seq_len=request.seq_len or SERVED_TOKENS["seq_len"],
        new_tokens=max(2, request.new_tokens or SERVED_TOKENS["new_tokens"]),
        num_requests=None,
        concurrency=None,
        request_rate=None,
    )
    undecided, model = sized(step, hub_id, dtype=dtypes.COMPUTE_DTYPES[0])
    dtype, why = dtypes.decide(request.dtype, undecided, model)
    new_tokens = request.new_tokens or SERVED_TOKENS["new_tokens"]
    each = -(-(undecided.seq_len + new_tokens) // PAGE_TOKENS)
    named = {field.name: getattr(undecided, field.name) for field in dataclasses.fields(undecided)}
    run = ServingRun(
        **named
        | {"task": request.task, "dtype": dtype, "dtype_reason": why, "new_tokens": new_tokens, "tokenizer": None, "prompt_ids": None},
        requests=requests,
        concurrency=closed,
        rate=request.request_rate,
        page_size=PAGE_TOKENS,
        num_blocks=each * in_flight,
        max_batch_tokens=max(STEP_TOKENS, in_flight),
    )
    decided = Asked(**request.to_dict()).replaced(
        config=run.config,
        seq_len=run.seq_len,
        new_tokens=run.new_tokens,
        dtype=dtype,
        device=str(run.device.torch_device),
        attn=run.attn,
        num_requests=requests,
        concurrency=closed,
        page_size=run.page_size,
        num_blocks=run.num_blocks,
        max_batch_tokens=run.max_batch_tokens,
        preset_values=run.preset,
        dtype_reason=why,
        weights_label=run.checkpoint.label if run.checkpoint else loading.RANDOM_WEIGHTS,
        input_label=f"{run.seq_len} random token ids stand in for text, others for each request",
    )
    return dataclasses.replace(run, request=decided)


def sized(request: Request, hub_id: str | None, *, dtype: str) -> tuple[LanguageRun, Decoder]:
    """The run in a dtype that is still to be judged, and its op table.

    Raises:
        RequestError: the request cannot be met; one line says why.
    """
    refuse_meaningless(request)
    checkpoint = loading.find_checkpoint(request.weights, None if request.layers else hub_id)
    config = read_config(checkpoint.place) if checkpoint and request.weights else request.config
    model = model_from_config(config, request.model)
    if not isinstance(model, Decoder) or model.left_out:
        reason = "takes more than text" if isinstance(model, Decoder) else "is no causal language model"
        raise BadConfigError(f"{request.model} {reason}; expected a causal language model for --task {request.task}")
    device, thorough = _device(request), preset(request.preset)
    tokenizer = loading.load_tokenizer(checkpoint, request.trust_remote_code) if request.task == "generate" else None
    is_encoded = tokenizer is not None and request.seq_len is None
    prompt_ids = inputs.encode(request.prompt or ARTICLE_PROMPT, tokenizer, model.vocab) if is_encoded else None
    decided = sizes(request, model, prompt_tokens=None if prompt_ids is None else int(prompt_ids.shape[1]))
    steps, max_time_s = _amount(request, thorough, device, decided.new_tokens)
    job = tuning_job(request, model, device, decided)
    return LanguageRun(
        model=request.model,
        config=config,
        task=request.task,
        **decided._asdict(),
        dtype=dtype if job is None else job.dtype,
        optimizer="adamw",
        recompute=request.recompute,
        job=job,
        request=Asked(**request.to_dict()),
        device=device,
        preset=thorough,
        seed=request.seed,
        attn=request.attn or "sdpa",
        compile=request.compile,
        cache=request.cache or "dynamic",
        layers=request.layers,
        checkpoint=checkpoint,
        trust_remote_code=request.trust_remote_code,
        tokenizer=tokenizer,
        prompt_ids=prompt_ids,
        dtype_reason="",
        steps=steps,
        max_time_s=max_time_s,
        learning_rate=request.learning_rate or (ADAPTER_LEARNING_RATE if job and job.trains_adapters else LANGUAGE_LEARNING_RATE),
    ), model


def _amount(request: Request, thorough: Preset, device: Device, new_tokens: int) -> tuple[int, float]:
    """Timed steps (or generations) at most, and seconds at most."""
    if request.task == "generate":
        return request.steps or GENERATIONS[request.preset], request.max_time_s or thorough.max_time_s
    if request.task == "decode":
        return min(new_tokens - 1, request.steps or new_tokens), request.max_time_s or DECODE_TIME_S
    phases = 2 if request.task == "train" else 1
    return request.steps or thorough.max_samples[device.kind], request.max_time_s or phases * thorough.max_time_s
