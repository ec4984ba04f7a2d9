"""One training question with everything that was put into it: what the tables and the explanation are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.architectures.decoder import Decoder
from estimators.counting.conventions import CONVENTIONS
from estimators.counting.estimate import count_params
from estimators.frozen import frozen
from estimators.spec import Workload
from estimators.training.at_utilization import training_state_bytes
from estimators.units import format_count, format_flop_rate, format_fraction, format_int

if TYPE_CHECKING:
    from estimators.facts.prices import Price
    from estimators.facts.published_runs import UtilizationRange
    from estimators.spec import Hardware, Model
    from estimators.training.at_utilization import TrainingRun

COUNTED_BY_6ND = "6·N·D over all parameters, attention not counted"


@frozen
class PriceRange:
    """Rent of one device in US dollars per hour, and where the figures come from."""

    low: float
    median: float
    high: float
    source: str


def price_range(prices: Sequence[Price]) -> PriceRange | None:
    """The cheapest and the dearest quote of any provider, and the middle one of the medians by kind of provider.

    None where there is no quote.
    """
    if not prices:
        return None
    medians = sorted(price.median_usd_per_gpu_hour for price in prices)
    middle = len(medians) // 2
    kinds = ", ".join(f"{p.num_quotes} {p.provider_kind} (median ${p.median_usd_per_gpu_hour:.2f})" for p in prices)
    seen = f"{min(p.first_seen for p in prices)} to {max(p.last_seen for p in prices)}"
    return PriceRange(
        low=min(price.low_usd_per_gpu_hour for price in prices),
        median=medians[middle] if len(medians) % 2 else (medians[middle - 1] + medians[middle]) / 2,
        high=max(price.high_usd_per_gpu_hour for price in prices),
        source=f"on-demand quotes seen {seen}: {kinds}",
    )


@frozen
class Study:
    """What a training was asked for, and one run at each utilisation.

    Attributes:
        params_text: the published count, as printed; empty for a model of a file.
        item: token, or sample for a model without sequences.
        seq_len_given: False where it is the model's own longest sequence.
        training_flop: of all tokens, by convention, and `6nd`.
        num_devices: None where none was given: then nothing has a wall time.
        runs, labels: one per utilisation: given, or low, median, high.
        utilization_source: who says that such a share is reached.
        price_reason: why there is no price, where there is none.
    """

    model: Model
    params: int
    params_text: str
    item: str
    tokens: int
    seq_len: int
    seq_len_given: bool
    dtype: str
    convention: str
    training_flop: dict[str, int]
    hardware: Hardware | None = None
    num_devices: int | None = None
    runs: tuple[TrainingRun, ...] = ()
    labels: tuple[str, ...] = ()
    utilization_source: str = ""
    price: PriceRange | None = None
    price_reason: str = ""

    @property
    def middle(self) -> int:
        """Index of the run that stands for all: the only one, or the median."""
        return len(self.runs) // 2

    @property
    def flop(self) -> int:
        """Of the whole training, under the chosen convention."""
        return self.training_flop[self.convention]

    @property
    def state_bytes(self) -> int:
        """What training holds besides activations: weights, gradients, optimizer state, low-precision copies."""
        return training_state_bytes(self.model, self.dtype)

    @property
    def devices_text(self) -> str:
        """Such as ``1,024 x a100-sxm4-80gb``."""
        assert self.hardware is not None
        return f"{format_int(self.num_devices)} x {self.hardware.id}" if self.num_devices else self.hardware.id

    @property
    def work_text(self) -> str:
        """Such as ``300 B tokens``."""
        return f"{format_count(self.tokens)} {self.item}s"


def convention_line(name: str) -> str:
    """What a way of counting FLOP includes, for the head of a table."""
    return f"FLOP counted {name}: {COUNTED_BY_6ND if name == '6nd' else CONVENTIONS[name].includes}"


def scope_lines(model: Model) -> list[str]:
    """What an encoder reads beside the decoder, and what a configuration has that is not counted; nothing for most models."""
    model = model.base
    if not isinstance(model, Decoder):
        return _source_lines(model)
    lines = [f"left out: {model.left_out}"] if model.left_out else []
    if model.prediction:
        params = count_params(model.prediction.ops(Workload(), model.width, model.vocab))
        what = "layers that predict further tokens (multi-token prediction)"
        lines.append(f"left out: {what}, {format_int(params)} parameters; `show` has them in a table of their own")
    return lines


def _source_lines(model: Model) -> list[str]:
    from estimators.architectures.encoder_decoder import EncoderDecoder  # deferred: most models are decoders

    if isinstance(model, EncoderDecoder):
        fixed = f"{format_int(model.source_positions)} positions" if model.source_positions else "as many tokens as the decoder"
        return [f"the encoder reads {fixed}{'' if model.source_positions else '; --source-len changes it'}"]
    return []


def conditions(study: Study, *, work: bool = True) -> list[str]:
    """What was held fixed, one line each; `work` says whether the tokens are among it."""
    published = f" (published: {study.params_text})" if study.params_text else ""
    length = "" if study.item == "sample" else f" sequences of {format_int(study.seq_len)}"
    trained = f" {format_int(study.tokens)} {study.item}s{' in' if length else ''}" if work else ""
    longest = "" if study.seq_len_given or study.item == "sample" else " (the model's longest; --seq-len changes it)"
    lines = [
        f"{study.model.name}: {format_int(study.params)} parameters{published};{trained}{length}{longest}".rstrip(";"),
        convention_line(study.convention),
        *scope_lines(study.model),
    ]
    if study.hardware:
        peak = format_flop_rate(study.hardware.peak(study.dtype))
        lines.append(f"{study.hardware.id}: dense {study.dtype} peak {peak} each, fp32 accumulate ({study.hardware.source.title})")
        shares = ", ".join(
            f"{format_fraction(run.utilization)}{f' ({label})' if len(study.labels) > 1 else ''}"
            for run, label in zip(study.runs, study.labels, strict=True)
        )
        lines.append(f"utilization {shares} of that peak: {study.utilization_source}")
    if study.price:
        lines.append(f"price per GPU-hour {price_text(study.price)}: {study.price.source}")
    return lines


def price_text(price: PriceRange) -> str:
    """Such as ``$0.60 (lowest), $1.60 (middle of the medians), $5.07 (highest)``, or one figure where all are the same."""
    if price.low == price.high:
        return f"${price.low:.2f}"
    return f"${price.low:.2f} (lowest), ${price.median:.2f} (middle of the medians), ${price.high:.2f} (highest)"


def range_source(published: UtilizationRange) -> str:
    """Who says so, in one line."""
    return f"{published.source.title}. {published.source.note} --utilization sets your own."
