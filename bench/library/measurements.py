"""What is measured, read from records, or counted with torch: measure, report, compare, disclose, count."""

from __future__ import annotations

from typing import Any

from bench.library.answers import ComparisonAnswer, CountAnswer, RecordsAnswer
from bench.library.disclosure_answer import DisclosureAnswer
from bench.library.estimates import Names, Number, Path
from bench.library.keywords import ask
from estimators.extras import needed_by


def measure(
    *,
    model: str | None = None,
    config: Path | None = None,
    suite: str | None = None,
    task: str | None = None,
    batch: Number | None = None,
    seq_len: Number | None = None,
    new_tokens: Number | None = None,
    num_beams: Number | None = None,
    prompt: str | None = None,
    images: Number | None = None,
    image_size: Number | None = None,
    text_tokens: Number | None = None,
    recompute: str | None = None,
    method: str | None = None,
    lora_rank: Number | None = None,
    lora_targets: Names | None = None,
    lora_dropout: Number | None = None,
    base_format: str | None = None,
    precision: str | None = None,
    optimizer: str | None = None,
    layers: Number | None = None,
    device: str | None = None,
    dtype: str | None = None,
    attn: str | None = None,
    cache: str | None = None,
    compile: bool = False,
    weights: Path | None = None,
    trust_remote_code: bool = False,
    steps: Number | None = None,
    max_time: Number | None = None,
    preset: str | None = None,
    repeats: Number | None = None,
    seed: Number | None = None,
    epochs: Number | None = None,
    learning_rate: Number | None = None,
    neurons: Number | None = None,
    hidden_layers: Number | None = None,
    days: Number | None = None,
    train_days: Number | None = None,
    data: Path | None = None,
    requests: Number | None = None,
    concurrency: Number | None = None,
    rate: Number | None = None,
    endpoint: str | None = None,
    tool: str | None = None,
    tokenizer: Path | None = None,
    allow_host: str | None = None,
    hardware: str | None = None,
    gpus: Number | None = None,
    waterfall: bool = False,
    out: Path | None = None,
) -> RecordsAnswer:
    """Estimate a model, measure it on this machine, cross-check the two and keep a record, as `python -m bench run` does.

    Of a launcher's processes the first has the answer, the others an empty one.
    """
    return RecordsAnswer(*ask("run", locals()))


def report(folder: Path, *, waterfall: bool = False) -> RecordsAnswer:
    """The records of a folder, one row each; or all tables of one record."""
    return RecordsAnswer(*ask("report", locals()))


def compare(
    a: Path,
    b: Path,
    *,
    threshold: Number | None = None,
    confidence: Number | None = None,
    normalise: str | None = None,
    across: Names | None = None,
    noise_floor: Path | None = None,
    interleave: bool = False,
    repeats: Number | None = None,
    out: Path | None = None,
) -> ComparisonAnswer:
    """Whether B is as fast as A: records, folders of them, or with `interleave` two commands of `run`."""
    return ComparisonAnswer(*ask("compare", locals()))


def disclose(
    what: Path | None = None,
    *,
    model: str | None = None,
    config: Path | None = None,
    fetch: bool = False,
    location: str | None = None,
    carbon: Number | None = None,
    pue: Number | None = None,
    preliminary: Names | None = None,
    utilization: Number | None = None,
    training_type: str | None = None,
    method: str | None = None,
    lora_rank: Number | None = None,
    lora_targets: Names | None = None,
    tokens: Number | None = None,
    seq_len: Number | None = None,
    source_len: Number | None = None,
    image_size: Number | None = None,
    hardware: str | None = None,
    gpus: Number | None = None,
    hours: Number | None = None,
    dtype: str | None = None,
    kwh: Number | None = None,
    base_flop: Number | None = None,
) -> DisclosureAnswer:
    """What experiments took, to be published: a folder of records, codecarbon's file, or a training in words.

    `forms` has the texts for a model card, NeurIPS's checklist, a paper and the EU's AI Act; a bare number of `hours` is hours.
    """
    return DisclosureAnswer(*ask("disclose", locals()))


def count(module: Any, example_inputs: Any, *, backward: bool = True, fvcore: bool = True) -> CountAnswer:
    """Parameters and FLOP of one forward (and backward) pass of a torch network, by module and by operator.

    Args:
        module: any torch.nn.Module; it is not changed, and its mode (train or eval) is respected.
        example_inputs: one tensor, a sequence of positional arguments, or a mapping of keyword arguments.
        backward: whether a backward pass from the sum of all floating outputs is counted too.
        fvcore: whether fvcore counts the forward pass as a second opinion.

    Raises:
        BadValueError: the network does not run on these inputs.
        MissingPackageError: torch is not installed.
    """
    with needed_by("count"):
        from bench.backend.counting import module as counting  # deferred: it takes torch
    from reports.views.counting.counted_network import network_tables
    from reports.views.counting.ops_screen import whole_screen

    counted = counting.count(module, example_inputs, backward=backward, fvcore=fvcore)
    name = type(module).__name__
    facts = {
        "model": name,
        "built_as": name,
        "tag": "counted",
        "params": counted.params,
        "trainable_params": counted.trainable_params,
        "forward_flop": counted.forward_flop,
        "backward_flop": counted.backward_flop,
        "fvcore_forward_flop": counted.fvcore_forward_flop,
        "by_operator": dict(counted.by_operator),
        "unseen_operators": [unseen.name for unseen in counted.unseen],
        "counted_on": counted.counted_on,
    }
    unavailable = {"backward_flop": counted.backward_reason, "fvcore_forward_flop": counted.fvcore_reason}
    facts |= {"unavailable": {figure: reason for figure, reason in unavailable.items() if reason}}
    tables = network_tables(
        facts,
        [f"counted on {counted.counted_on}, on the inputs given", "FLOP counted full, by torch.utils.flop_counter, mended"],
        by_module=counted.by_module,
        by_operator=counted.by_operator,
        unseen=[(unseen.name, unseen.num_calls, unseen.output_share_fraction) for unseen in counted.unseen],
        decode_reason="a network of your own is counted as it is called",
        backward_reason=counted.backward_reason,
    )
    return CountAnswer(tables, screen=whole_screen(tables))
