"""Training throughput that others published with their own figure for it: what our count makes of the same run."""

from __future__ import annotations

import functools
from typing import cast

from estimators.architectures.from_config import model_from_config
from estimators.counting.flop_by_tool import training_flop_per_token
from estimators.facts import data
from estimators.facts.registry import hardware, model_entry
from estimators.facts.tool_conventions import peak_of, tool, tools
from estimators.frozen import frozen
from estimators.spec import Model, Recompute, Source

ROW_COLUMNS = (
    *("name", "tool", "model", "layers", "width", "vocab", "params", "seq_len", "hardware_id", "dtype", "recompute", "num_devices"),
    *("tokens", "wall_s", "reported_mfu", "reported_hfu", "reported_flop_per_s", "fault", "source", "url"),
)
DTYPES = ("bf16", "fp16", "fp8", "fp4")


@frozen
class PublishedThroughput:
    """One row of published_throughput.csv.

    Attributes:
        name: the model as the source calls it.
        tool: id of the convention that the source's figure is counted under.
        model_id: of the registry; empty for a GPT that `layers`, `width` and `vocab` describe.
        params: as the source prints them, to the last digit; None where it rounds.
        num_devices, tokens, wall_s: all devices together took that long for those tokens.
        reported_mfu, reported_hfu: as the source prints them; None where it does not.
        reported_flop_per_s: of one device, as the source prints it; None where it does not.
        fault: why the row contradicts itself and proves nothing; empty for a sound row.
    """

    name: str
    tool: str
    model_id: str
    layers: int | None
    width: int | None
    vocab: int | None
    params: int | None
    seq_len: int
    hardware_id: str
    dtype: str
    recompute: Recompute
    num_devices: int
    tokens: int
    wall_s: float
    reported_mfu: float | None
    reported_hfu: float | None
    reported_flop_per_s: float | None
    fault: str
    source: Source

    @property
    def tokens_per_s(self) -> float:
        """Of one device."""
        return self.tokens / (self.wall_s * self.num_devices)

    def model(self) -> Model:
        """The registry's model, or the GPT of that shape; how many heads share its width changes no count."""
        if self.model_id:
            entry = model_entry(self.model_id)
            return model_from_config(entry.config, entry.id, entry.source)
        return _gpt(self.layers, self.width, self.vocab, self.seq_len)

    def flop_per_s(self, tool_id: str) -> float:
        """Of one device, counted by us under a tool's convention from the published tokens and time."""
        return self.tokens_per_s * training_flop_per_token(tools()[tool_id], self.model(), self.seq_len, self.recompute)

    def utilization(self, tool_id: str) -> float:
        """Share of the peak that the tool divides by."""
        return self.flop_per_s(tool_id) / peak_of(tools()[tool_id], hardware(self.hardware_id), self.dtype).flop_per_s


@functools.cache
def _gpt(layers: int | None, width: int | None, vocab: int | None, seq_len: int) -> Model:
    config = {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": 1, "vocab_size": vocab, "n_positions": seq_len}
    return model_from_config(config, f"GPT {layers} x {width}")


@functools.cache
def read_throughput() -> tuple[PublishedThroughput, ...]:
    """Every row of published_throughput.csv."""
    return tuple(throughput_from(row) for row in data.read_rows(data.file("published_throughput.csv"), ROW_COLUMNS))


def throughput_from(row: data.Row) -> PublishedThroughput:
    """Check one row of published_throughput.csv. Raises BadValueError: a cell that is not what its column says."""
    model_id = row.optional_text("model")
    shape = [row.optional_integer(column) if model_id else row.integer(column) for column in ("layers", "width", "vocab")]
    figures = [row.optional_number(column) for column in ("reported_mfu", "reported_hfu", "reported_flop_per_s")]
    if not any(figures):
        raise row.fail("reported_mfu", "a figure to compare with, there or in reported_flop_per_s")
    return PublishedThroughput(
        name=row.text("name"),
        tool=tool(row.text("tool")).id,
        model_id=model_id,
        layers=shape[0],
        width=shape[1],
        vocab=shape[2],
        params=row.optional_integer("params"),
        seq_len=row.integer("seq_len"),
        hardware_id=row.text("hardware_id"),
        dtype=row.text("dtype", choices=DTYPES),
        recompute=cast(Recompute, row.text("recompute", choices=("none", "full"))),
        num_devices=row.integer("num_devices"),
        tokens=row.integer("tokens"),
        wall_s=row.number("wall_s"),
        reported_mfu=figures[0],
        reported_hfu=figures[1],
        reported_flop_per_s=figures[2],
        fault=row.optional_text("fault"),
        source=Source(title=row.text("source"), url=row.text("url")),
    )


@frozen
class Residual:
    """Our figure for a published row beside the source's own.

    Attributes:
        quantity: mfu, hfu or flop_per_s.
        ours, reported: shares of peak, or FLOP/s of one device.
    """

    row: PublishedThroughput
    quantity: str
    ours: float
    reported: float

    @property
    def points(self) -> float | None:
        """Ours minus the source's, of peak; None for a rate."""
        return None if self.quantity == "flop_per_s" else self.ours - self.reported

    @property
    def relative(self) -> float:
        """Ours over the source's, less one."""
        return self.ours / self.reported - 1


def residuals(row: PublishedThroughput) -> tuple[Residual, ...]:
    """One for each figure that the row reports."""
    differences = []
    if row.reported_mfu is not None:
        differences.append(Residual(row=row, quantity="mfu", ours=row.utilization(row.tool), reported=row.reported_mfu))
    if row.reported_hfu is not None:
        differences.append(Residual(row=row, quantity="hfu", ours=row.utilization(f"{row.tool}-hfu"), reported=row.reported_hfu))
    if row.reported_flop_per_s is not None:
        differences.append(Residual(row=row, quantity="flop_per_s", ours=row.flop_per_s(row.tool), reported=row.reported_flop_per_s))
    return tuple(differences)
