"""Recipes: what a framework for fine-tuning does unless told otherwise, by framework and version; facts, no fits."""

from __future__ import annotations

import functools
from typing import Any, Literal, get_args

from estimators.errors import BadValueError, UnknownNameError
from estimators.facts import data
from estimators.frozen import frozen

AdapterDtype = Literal["fp32", "compute", "fp32 unless quantised"]
"""What adapters are held in: fp32, the dtype of compute, or fp32 beside 16-bit matrices and the dtype of compute beside quantised ones."""

EdgeDtype = Literal["as loaded", "fp32 if quantised", "norms fp32 if quantised"]
"""What embedding, head and norms are held in beside a quantised base: as they were loaded; fp32 as peft's
prepare_model_for_kbit_training makes them (which leaves GPTQ as it is); norms alone, as TRL's cast to bf16 behind that leaves them."""

LossPath = Literal["plain", "plain-kept", "chunked", "liger", "liger-fused", "cut-cross-entropy", "fused-16-bit", "fused-16-bit-kept"]
"""How logits and loss are made: transformers' own loop, the same where the caller keeps the logits beside the loss, head and loss
in chunks of tokens, Liger's cross entropy in place of torch's, its fused linear cross entropy, Apple's cut cross entropy, or another
cross entropy of 16-bit logits that writes its gradient in place, and the same where the caller keeps the logits."""

Checkpointing = Literal["none", "full", "offload"]
"""Which activations are kept: all, the input of each layer, or those inputs on the host."""

Packing = Literal["none", "packed", "padding-free"]
"""How samples share a row: one each, padded to the longest; cut and joined to rows of one length; side by side without padding."""


@frozen
class Recipe:
    """The defaults of one framework in a range of versions. A job has a field for each; the recipe fills those that nobody gave.

    Attributes:
        id: the key, such as ``trl``; the newest row of a framework has its name alone.
        framework: what people call it.
        first_version, before_version: versions from the one on, below the other; empty for no end.
        adapter_dtype, edge_dtype: see the types.
        autocast: whether the forward pass runs under torch.autocast to the 16-bit dtype; without it in the weights' dtype.
        weights_dtype: what a full fine-tuning holds its weights in: bf16 as checkpoints are, or fp32.
        frozen_dtype: what weights beside adapters are loaded in, but for those that are quantised: the dtype of compute, or fp32.
        loss, checkpointing, packing: see the types.
        optimizer: transformers' name of it.
        micro_batch, accumulation, seq_len, lora_rank: None where the framework has no default.
        epochs: of the data; None where the framework has no default.
        lora_targets: all-linear, or names separated by commas; empty for peft's own.
        keeps_frozen_inputs: whether 4-bit matrices keep their inputs for backward though they are frozen (bitsandbytes of 2023).
        doubles_scales: whether scales of 4-bit weights are quantised in turn unless said otherwise.
        quantises_experts: whether experts are linear layers that run one after the other, as in transformers before 5; bitsandbytes
            quantises those.
        source: where the row is from; note: what it leaves open.
    """

    id: str
    framework: str
    first_version: str
    before_version: str
    adapter_dtype: AdapterDtype
    edge_dtype: EdgeDtype
    autocast: bool
    weights_dtype: str
    frozen_dtype: str
    loss: LossPath
    checkpointing: Checkpointing
    packing: Packing
    optimizer: str
    micro_batch: int | None
    accumulation: int | None
    seq_len: int | None
    epochs: int | None
    lora_rank: int | None
    lora_targets: str
    keeps_frozen_inputs: bool
    doubles_scales: bool
    quantises_experts: bool
    source: str
    note: str


UNKNOWN = "unknown"
"""The recipe of a job whose framework nobody named: transformers with peft, as most frameworks have it; an assumption."""


@functools.cache
def recipes() -> dict[str, Recipe]:
    """All recipes, by id."""
    columns: tuple[str, ...] = Recipe._fields  # type: ignore[attr-defined]
    return {row.text("id"): _recipe(row) for row in data.read_rows(data.file("recipes.csv"), columns)}


def _recipe(row: data.Row) -> Recipe:
    return Recipe(
        id=row.text("id"),
        framework=row.text("framework"),
        first_version=row.optional_text("first_version"),
        before_version=row.optional_text("before_version"),
        adapter_dtype=_one_of(row, "adapter_dtype", AdapterDtype),
        edge_dtype=_one_of(row, "edge_dtype", EdgeDtype),
        autocast=_is_yes(row, "autocast"),
        weights_dtype=row.text("weights_dtype", choices=("bf16", "fp32")),
        frozen_dtype=row.text("frozen_dtype", choices=("compute", "fp32")),
        loss=_one_of(row, "loss", LossPath),
        checkpointing=_one_of(row, "checkpointing", Checkpointing),
        packing=_one_of(row, "packing", Packing),
        optimizer=row.text("optimizer"),
        micro_batch=row.optional_integer("micro_batch"),
        accumulation=row.optional_integer("accumulation"),
        seq_len=row.optional_integer("seq_len"),
        epochs=row.optional_integer("epochs"),
        lora_rank=row.optional_integer("lora_rank"),
        lora_targets=row.optional_text("lora_targets"),
        keeps_frozen_inputs=_is_yes(row, "keeps_frozen_inputs"),
        doubles_scales=_is_yes(row, "doubles_scales"),
        quantises_experts=_is_yes(row, "quantises_experts"),
        source=row.text("source"),
        note=row.optional_text("note"),
    )


def _is_yes(row: data.Row, column: str) -> bool:
    return row.text(column, choices=("yes", "no")) == "yes"


def _one_of(row: data.Row, column: str, kind: Any) -> Any:
    return row.text(column, choices=get_args(kind))


def recipe(name: str, version: str = "") -> Recipe:
    """The recipe of a framework, or of one of its versions.

    >>> recipe("trl").checkpointing, recipe("TRL", "0.7.4").checkpointing, recipe("transformers").checkpointing
    ('full', 'none', 'none')

    Args:
        name: an id or a framework, in any case.
        version: such as 0.7.4; the newest if empty.

    Raises:
        UnknownNameError: no such framework.
        BadValueError: a version that is none, or that no row covers.
    """
    wanted = name.strip().casefold().replace("_", "-").replace(" ", "-")
    wanted = ALSO_CALLED.get(wanted, wanted)
    known = recipes()
    rows = [each for each in known.values() if each.framework == wanted]
    if not rows and wanted in known:
        return known[wanted]
    if not rows:
        raise UnknownNameError("framework", name, sorted({each.framework for each in known.values()}), "python -m bench list recipes")
    if not version:
        return next((each for each in rows if not each.before_version), rows[0])
    number = _numbers(version)
    for each in rows:
        if _numbers(each.first_version or "0") <= number and (not each.before_version or number < _numbers(each.before_version)):
            return each
    raise BadValueError(f"no recipe of {wanted} covers version {version[:40]}; leave the version out for the newest")


def recipe_of(said: str | None) -> Recipe:
    """The recipe of NAME or NAME@VERSION, as --framework has it; the assumed one where nobody said. Raises as `recipe`."""
    return recipe(*(said or UNKNOWN).split("@", 1))


ALSO_CALLED = {
    "llamafactory": "llama-factory",
    "swift": "ms-swift",
    "peft": "transformers",
    "trainer": "transformers",
    "lit-gpt": "litgpt",
    "tune": "torchtune",
}
"""What else frameworks are called."""


def _numbers(version: str) -> tuple[int, ...]:
    """Numbers of a version, such as (0, 7, 4) of 0.7.4. Raises BadValueError where it begins with none."""
    numbers: list[int] = []
    for part in version.strip().lstrip("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits[:9]))
    if not numbers:
        raise BadValueError(f"{version[:40]!r} is no version; expected one such as 0.7.4")
    return tuple(numbers)
