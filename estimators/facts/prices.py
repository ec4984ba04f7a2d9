"""What others ask for a device by the hour: dated quotes, one range per kind of provider."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from estimators.facts import data
from estimators.facts.published_runs import median
from estimators.frozen import frozen
from estimators.spec import Source

PROVIDER_KINDS = ("hyperscaler", "neocloud", "marketplace")
PRICE_COLUMNS = ("hardware_id", "provider_kind", "provider", "usd_per_gpu_hour", "seen")


@frozen
class Price:
    """What one kind of provider asks for one device, on demand, in US dollars per device-hour.

    Attributes:
        low_usd_per_gpu_hour, median_usd_per_gpu_hour, high_usd_per_gpu_hour: over one quote per provider.
        num_quotes, providers: how many, and whose.
        first_seen, last_seen: dates of the oldest and newest quote, such as 2026-09-27.
    """

    hardware_id: str
    provider_kind: str
    low_usd_per_gpu_hour: float
    median_usd_per_gpu_hour: float
    high_usd_per_gpu_hour: float
    num_quotes: int
    providers: tuple[str, ...]
    first_seen: str
    last_seen: str
    source: Source


@frozen
class PriceRange:
    """Rent of one device in US dollars per hour, and where the figures come from."""

    low: float
    median: float
    high: float
    source: str


@functools.cache
def _quotes() -> dict[tuple[str, str], list[data.Row]]:
    groups: dict[tuple[str, str], list[data.Row]] = {}
    for row in data.read_rows(data.file("prices.csv"), PRICE_COLUMNS):
        groups.setdefault((row.text("hardware_id"), row.text("provider_kind", choices=PROVIDER_KINDS)), []).append(row)
    return groups


def price_ranges(hardware_id: str) -> tuple[Price, ...]:
    """The ranges for one device, in the order of PROVIDER_KINDS; a kind without a quote is left out."""
    return tuple(_price(hardware_id, kind, _quotes()[hardware_id, kind]) for kind in PROVIDER_KINDS if (hardware_id, kind) in _quotes())


def _price(hardware_id: str, kind: str, quotes: Sequence[data.Row]) -> Price:
    usd = sorted(quote.number("usd_per_gpu_hour") for quote in quotes)
    seen = sorted(quote.text("seen") for quote in quotes)
    return Price(
        hardware_id=hardware_id,
        provider_kind=kind,
        low_usd_per_gpu_hour=usd[0],
        median_usd_per_gpu_hour=median(usd),
        high_usd_per_gpu_hour=usd[-1],
        num_quotes=len(usd),
        providers=tuple(quote.text("provider") for quote in quotes),
        first_seen=seen[0],
        last_seen=seen[-1],
        source=Source(
            title=f"prices.csv: on-demand quotes of {len(usd)} providers, {seen[0]} to {seen[-1]}",
            note="Copied from public price collections, not from the providers; per instance / devices, some without CPU and memory.",
        ),
    )


def price_range(prices: Sequence[Price]) -> PriceRange | None:
    """The cheapest and the dearest quote of any provider, and the middle one of the medians by kind of provider.

    None where there is no quote.
    """
    if not prices:
        return None
    kinds = ", ".join(f"{p.num_quotes} {p.provider_kind} (median ${p.median_usd_per_gpu_hour:.2f})" for p in prices)
    seen = f"{min(p.first_seen for p in prices)} to {max(p.last_seen for p in prices)}"
    return PriceRange(
        low=min(price.low_usd_per_gpu_hour for price in prices),
        median=median(sorted(price.median_usd_per_gpu_hour for price in prices)),
        high=max(price.high_usd_per_gpu_hour for price in prices),
        source=f"on-demand quotes seen {seen}: {kinds}",
    )


def rent(hardware_id: str, usd_per_gpu_hour: float | None = None) -> PriceRange | None:
    """What a device costs by the hour: as the user says, else by the quotes that were seen; None where there is none."""
    if usd_per_gpu_hour is None:
        return price_range(price_ranges(hardware_id))
    return PriceRange(low=usd_per_gpu_hour, median=usd_per_gpu_hour, high=usd_per_gpu_hour, source="given by --price")
