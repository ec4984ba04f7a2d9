"""What was observed of one run: figures with their unit and scope, the setting that they were observed in, and what is not known.

`Observed` is what whoever reads something hands over: the command line, a row of a table, a reader of a file. `diagnose` knows no other
source, so that the same run gives the same answer whichever file it stands in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from estimators.errors import BadValueError
from estimators.frozen import field, frozen, replace
from estimators.units import format_duration, format_flop_rate, format_fraction, format_grouped

Scope = Literal["device", "job", "request"]
"""What a figure is of: one device (what a tool calls per GPU, per rank, per device), all devices of the run together, or one request of a
server. A step's time, a wall time and a step count are the job's."""

Quantity = Literal[
    "tokens_per_s",
    "samples_per_s",
    "requests_per_s",
    "steps_per_s",
    "flop_per_s",
    "decode_tokens_per_s",
    "step_time_s",
    "wall_time_s",
    "mfu_fraction",
    "tokens",
    "samples",
    "steps",
    "peak_flop_per_s",
    "reported_over_true",
    "over_single_node",
]
"""What can be observed, in base units: the suffix is the unit. `mfu_fraction` is 0 to 1, not percent; `reported_over_true` is the ratio of
two ways to count, `over_single_node` of a run on several nodes to the same on one."""

RATES = ("tokens_per_s", "samples_per_s", "requests_per_s", "steps_per_s", "flop_per_s", "decode_tokens_per_s")
TIMES = ("step_time_s", "wall_time_s")
COUNTS = ("tokens", "samples", "steps")

UNITS: Mapping[str, str] = {
    "tokens_per_s": "tokens/s",
    "samples_per_s": "samples/s",
    "requests_per_s": "requests/s",
    "steps_per_s": "steps/s",
    "flop_per_s": "FLOP/s",
    "decode_tokens_per_s": "tokens/s",
    "step_time_s": "s a step",
    "wall_time_s": "s in all",
    "mfu_fraction": "of peak",
    "tokens": "tokens",
    "samples": "samples",
    "steps": "steps",
    "peak_flop_per_s": "FLOP/s peak",
    "reported_over_true": "reported over true",
    "over_single_node": "of one node",
}
SCOPED = {"device": " per device", "job": " of the job", "request": " of one request"}

Included = Literal["padding", "masked tokens", "first steps", "evaluation", "saving", "loading", "recomputation"]
"""What a figure holds beside steady steps on real tokens, where its source says so."""


@frozen
class Figure:
    """One number of a run.

    Attributes:
        quantity, value: what it is, in base units.
        scope: of one device, of the job, or of one request.
        source: who says it, such as ``tps of torchtitan's log, median of 96 lines``; empty for the user's own words.
        digits: significant digits as printed, which say how exact it is; 0 where it was computed.
        low, high: its spread over the steps that it is of, as 10th and 90th percentile; None where it is one number.
        num_samples: readings that it is the median of.
        includes: what it holds beside steady steps on real tokens.
        cumulative: whether it is a mean since the run's start.
    """

    quantity: Quantity
    value: float
    scope: Scope = "job"
    source: str = ""
    digits: int = 0
    low: float | None = None
    high: float | None = None
    num_samples: int = 1
    includes: tuple[Included, ...] = ()
    cumulative: bool = False

    def __post_init__(self) -> None:
        if self.quantity not in get_args(Quantity):
            raise BadValueError(f"quantity {self.quantity!r} is unknown; expected one of: {', '.join(get_args(Quantity))}")
        if not 0 < self.value < float("inf"):
            raise BadValueError(f"{self.quantity} is {self.value:g}; expected a finite number above 0")

    @property
    def relative_error(self) -> float:
        """What its digits leave open: half of the last one, relative; 0 where it was computed.

        >>> round(Figure(quantity="mfu_fraction", value=0.15, digits=2).relative_error, 3)
        0.033
        """
        if not self.digits:
            return 0.0
        leading = float(f"{self.value:.15e}".partition("e")[0])
        return 0.5 * 10.0 ** (1 - self.digits) / leading

    def __str__(self) -> str:
        return f"{self.amount} {UNITS[self.quantity]}{SCOPED[self.scope]}" if self.quantity not in WORDED else self.amount

    @property
    def amount(self) -> str:
        """The number for people."""
        if self.quantity in TIMES:
            return format_duration(self.value) + (" a step" if self.quantity == "step_time_s" else "")
        if self.quantity == "mfu_fraction":
            return f"{format_fraction(self.value)} of peak"
        if self.quantity in ("flop_per_s", "peak_flop_per_s"):
            return format_flop_rate(self.value) + (SCOPED[self.scope] if self.quantity == "flop_per_s" else "")
        return format_grouped(self.value)


WORDED = (*TIMES, "mfu_fraction", "flop_per_s", "peak_flop_per_s")
"""Quantities whose amount has its unit in it."""


@frozen
class Series:
    """A figure over the steps of a run, for change points: at most a few thousand points, whatever the file's size.

    Attributes:
        quantity, scope: as of a figure; its values are in base units.
        steps: optimizer steps, rising.
        values: one for each step; of a thinned series the median between its step and the one before.
        source: who says it.
    """

    quantity: Quantity
    scope: Scope
    steps: tuple[int, ...]
    values: tuple[float, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise BadValueError(f"a series of {len(self.steps)} steps and {len(self.values)} values; expected as many of both")


@frozen
class Skipped:
    """Readings that are in no figure.

    Attributes:
        what: such as ``first steps``, ``evaluation``, ``checkpoints``, ``broken lines``.
        number: of them.
        why: such as ``they hold the compilation``.
    """

    what: str
    number: int
    why: str = ""


@frozen
class Missing:
    """A fact that is not there and would decide something.

    Attributes:
        what: such as ``number of GPUs``.
        why: what it would decide.
        flag: what gives it: an option of `diagnose`, or the setting that makes the tool write it, such as
            ``include_num_input_tokens_seen=True of TrainingArguments``.
    """

    what: str
    why: str = ""
    flag: str = ""

    def __str__(self) -> str:
        return f"{self.what}{f', {self.why}' if self.why else ''}{f': {self.flag}' if self.flag else ''}"


@frozen
class Setting:
    """What is known of the run's configuration; None or empty for what nobody said. Nothing here is assumed.

    Attributes:
        model: a name of the registry or a size; config: of a model that has none, as in a config.json.
        claimed_model: what the run is said to train, where the configuration is another's.
        forward_flop_per_sample: of a network of images that has no op table here: of one sample, a multiply-add as two.
        hardware: a device's name; num_devices: of the job.
        seq_len: tokens of a row; `seq_len_at_most` where rows are shorter.
        micro_batch, accumulation, global_batch: sequences, or samples, of one pass of one device; passes of a step; of a step of the job.
        tp, pp, cp, ep, dp, zero: degrees of the layout.
        recompute: none, selective or full; empty where nobody said.
        dtype: of the products; precision: of weights that are served, in the user's words.
        software: framework or engine.
        method: full, lora, qlora or freeze.
        phase: train or decode.
        packed: whether rows hold no padding.
        cluster: such as ``selene``, for its network.
    """

    model: str = ""
    config: Mapping[str, object] = field(default_factory=dict, hash=False)
    claimed_model: str = ""
    forward_flop_per_sample: float | None = None
    hardware: str = ""
    num_devices: int | None = None
    seq_len: int | None = None
    seq_len_at_most: bool = False
    micro_batch: int | None = None
    accumulation: int | None = None
    global_batch: int | None = None
    tp: int | None = None
    pp: int | None = None
    cp: int | None = None
    ep: int | None = None
    dp: int | None = None
    zero: int | None = None
    recompute: str = ""
    dtype: str = ""
    precision: str = ""
    software: str = ""
    method: str = ""
    phase: str = "train"
    packed: bool | None = None
    cluster: str = ""

    def filled(self, other: Setting) -> Setting:
        """This one, with what it does not say from another: the user's words over a file's.

        >>> Setting(num_devices=8).filled(Setting(num_devices=4, seq_len=2048)).seq_len
        2048
        """
        unsaid = Setting()
        values = {name: getattr(other, name) for name in _FIELDS if getattr(self, name) == getattr(unsaid, name)}
        return replace(self, **values)


_FIELDS: tuple[str, ...] = Setting._fields  # type: ignore[attr-defined]


@frozen
class OtherRun:
    """The same figure of another run that the user compares with.

    Attributes:
        figure: its figure.
        num_devices, hardware: as of a setting, where they differ from the run's own.
        source: whose run.
    """

    figure: Figure
    num_devices: int | None = None
    hardware: str = ""
    source: str = ""


SHARES: Mapping[str, str] = {
    "loader": "data_loader_suspected",
    "exposed communication": "network_or_layout",
    "idle": "host_bound_small_model",
    "padding": "padding_computed",
    "throttled": "throttling",
    "without its processor": "throttled_process",
    "unfused attention": "implementation",
}
"""What a part of a step's time goes into, where a file or a trace tells -> the cause that it is evidence of: waiting for data;
communication that nothing else runs beside; a device without work that waits for neither; positions without a token; clocks held
down; a process that is kept from its processor; attention by products and a softmax that write their scores."""


@frozen
class Observed:
    """All that is known of one run: what a reader of a file, of a row or of a command line hands to `diagnose`.

    A reader takes unit and scope from the format, never from a number's size; drops first steps, evaluation and checkpoints and says so in
    `skipped`; names in `missing` what the format does not hold, with the flag that would have written it; and leaves everything else out.

    Attributes:
        figures: the first is the one that is asked about: the user's, else the most direct rate of the file. All are of one run, and must
            agree with one another. Figures that are printed and known to be wrong (nanoGPT's MFU on an H100) belong here as printed.
        setting: what the source says of the configuration.
        series: rates over time.
        shares: of a step's time, 0 to 1, where a file or a trace tells; keys of SHARES.
        step_parts_s: the mean step by what it went into, where a trace tells: the parts sum to it; names are those of `traces.parts`.
        others: other runs that it is compared with.
        skipped, missing: what is in no figure, and what is not there.
        read: what was read, in a line, such as ``torchtitan log, 96 of 100 lines``; empty for the user's own words.
        notes: what a reader assumed.
    """

    figures: tuple[Figure, ...] = ()
    setting: Setting = Setting()
    series: tuple[Series, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict, hash=False)
    step_parts_s: Mapping[str, float] = field(default_factory=dict, hash=False)
    others: tuple[OtherRun, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    missing: tuple[Missing, ...] = ()
    read: str = ""
    notes: tuple[str, ...] = ()

    def figure(self, quantity: Quantity, scope: Scope | None = None) -> Figure | None:
        """The first figure of a quantity, of one scope or of any; None where there is none."""
        return next((f for f in self.figures if f.quantity == quantity and scope in (None, f.scope)), None)
