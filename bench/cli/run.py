"""Estimate a model, measure it here, cross-check the two, print the tables and keep a record.

The article's own call:  python -m bench run --model phi-2
A slice of true width:   python -m bench run --model phi-2 --task train --layers 4 --seq-len 256
A fine-tuning, counted:  python -m bench run --model gpt2 --task train --method lora --lora-rank 8 --batch 2 --seq-len 64
A network of your own:   python -m bench run --model mlp --neurons 200 --hidden-layers 3
Images, speech, latents: python -m bench run --model whisper-tiny --batch 2
Images beside a text:    python -m bench run --model smolvlm2-2.2b --images 1 --image-size 384 --task forward
All of the article:      python -m bench run --suite article --format md
What a GPU can reach:    python -m bench run --suite reach
A server under load:     python -m bench run gpt2 --task serve --concurrency 8 --requests 24 --seq-len 64 --new-tokens 32
One that answers:        python -m bench run --endpoint http://127.0.0.1:8000/v1 --model NAME --concurrency 8
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.cli import article_options, names, records_page, run_endpoint, run_repeats, run_suite
from bench.cli.output import Output
from bench.cli.run_options import Options, add_arguments
from bench.machine.device_name import kind_and_index
from bench.machine.ranks import say
from bench.records.request import ALL_TASKS, CACHES, SERVING, Request
from estimators.errors import BadValueError, NoOpTableError, UnavailableError, UnknownNameError
from estimators.extras import expect

if TYPE_CHECKING:
    from bench.records.calibration import Calibration

__all__ = ["HAS_PICTURES", "Options", "add_arguments", "run"]

HAS_PICTURES = True


def run(options: Options, out: Output) -> int:
    """Measure, print, and return 1 if any check failed."""
    from bench.machine.ranks import start_promised_ranks

    if options.endpoint is not None:
        return run_endpoint.run(options, out)
    _demand_no_server(options)
    start_promised_ranks()
    repeats = run_repeats.num_repeats(options.repeats, options.preset, is_suite=options.suite is not None)
    if options.suite is not None:
        return run_suite.run(
            options.suite,
            partial(_request, options),
            calibration_of=partial(_calibration, options),
            folder=options.out,
            waterfall=options.waterfall,
            out=out,
        )
    request, hub_id = _request(options)
    expect("torch")
    say(f"{request.model}: {article_options.promise(request)}")
    if repeats > 1:
        return run_repeats.run(request, repeats, hub_id, folder=options.out, out=out, say=say)
    from bench.runs.measure import Interrupted, keeps, measure
    from reports.checks.crosscheck import crosscheck, failed

    try:
        record = measure(request, hub_id=hub_id, out=options.out, say=say, calibration=_calibration(options, request))
    except Interrupted as stopped:
        if keeps(request.task) and stopped.record.phases:
            with suppress(BrokenPipeError, UnavailableError):  # the signal, too, ended who read it
                records_page.emit_one(out, stopped.record)
        raise
    if not keeps(request.task):
        return 0
    records_page.emit_one(out, record, waterfall=options.waterfall)
    say(f"record: {options.out / record.run_id}.json")
    return 1 if failed(crosscheck(record)) else 0


def _demand_no_server(options: Options) -> None:
    """Raises BadValueError for an option of an endpoint where there is none."""
    for name in ("tool", "tokenizer", "allow_host", "hardware", "gpus"):
        if getattr(options, name) is not None:
            word = "--" + name.replace("_", "-")
            raise BadValueError(f"{word} is of a server that answers already, of --endpoint; a model is run on --device of this machine")


def _calibration(options: Options, request: Request | None = None) -> Calibration | None:
    """This device's calibration where a waterfall is asked for; of a fine-tuning and of a server where there is one.

    Raises:
        UnavailableError: a waterfall without one for this device, its threads and this torch.
    """
    if not options.waterfall and options.task not in SERVING and (request is None or request.method is None):
        return None
    from bench.backend import device as devices
    from bench.records import calibration_file

    calibration = calibration_file.find(devices.choose(options.device).describe())
    if calibration is None and options.waterfall:
        raise UnavailableError("--waterfall needs a calibration of this device, its threads and this torch: python -m bench calibrate")
    return calibration


def _request(options: Options, model: str | None = None) -> tuple[Request, str | None]:
    """The request of the command line, and the model's name in the hub's cache."""
    name, config, hub_id = names.configuration(model or options.model, None if model else options.config, whole=options.images is not None)
    task = options.task or _usual_task(name, config, options)
    if task not in ALL_TASKS:
        raise UnknownNameError("task", task, ALL_TASKS, "python -m bench list tasks")
    if options.attn not in (None, "eager", "sdpa", "flash_attention_2"):
        raise BadValueError(f"attention {options.attn[:40]!r} is unknown; expected eager, sdpa or flash_attention_2")
    if options.cache not in (None, *CACHES):
        raise BadValueError(f"cache {options.cache[:40]!r} is unknown; expected {' or '.join(CACHES)}")
    if options.device is not None:
        kind_and_index(options.device)
    assert options.max_time_s is None or math.isfinite(options.max_time_s)
    request = Request(
        model=name,
        config=config,
        task=task,
        batch=options.batch,
        seq_len=options.seq_len,
        images=options.images,
        image_size=None if options.image is None else (options.image.height, options.image.width),
        text_tokens=options.text_tokens,
        new_tokens=options.new_tokens,
        num_beams=options.num_beams,
        dtype=options.dtype,
        device=options.device,
        attn=options.attn,
        compile=options.compile,
        cache=options.cache,
        layers=options.layers,
        weights=options.weights,
        trust_remote_code=options.trust_remote_code,
        steps=options.steps,
        max_time_s=options.max_time_s,
        recompute=options.recompute,
        method=options.method,
        lora_rank=options.lora_rank,
        lora_targets=options.lora_targets,
        lora_dropout=options.lora_dropout,
        base_format=options.base_format,
        precision=options.precision,
        optimizer=options.optimizer,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        hidden_layers=options.hidden_layers,
        neurons=options.neurons,
        days=options.days,
        train_days=options.train_days,
        data=options.data,
        seed=options.seed,
        prompt=options.prompt,
        preset=options.preset,
        num_requests=options.num_requests,
        concurrency=options.concurrency,
        request_rate=options.rate,
    )
    return request, hub_id


def _usual_task(name: str, config: dict[str, Any], options: Options) -> str:
    """Without --task: language models generate, all others train."""
    if config.get("model_type") == "dense_network" or name == "tiny-gpt" or options.images is not None:
        return "train"
    from estimators.architectures.decoder import Decoder
    from estimators.architectures.from_config import model_from_config

    with suppress(NoOpTableError):  # which is said when the run is decided
        return "generate" if isinstance(model_from_config(config, name), Decoder) else "train"
    return "generate"
