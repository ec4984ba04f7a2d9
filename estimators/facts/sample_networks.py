"""Networks of images of which the forward FLOP of one sample is published and no op table is here."""

from __future__ import annotations

import functools

from estimators.facts import data
from estimators.frozen import frozen
from estimators.spec import Source

COLUMNS = ("names", "forward_flop", "input", "source", "url")


@frozen
class SampleNetwork:
    """One published count.

    Attributes:
        name: in lower case.
        forward_flop: of one sample, a multiply-add as two.
        input: what a sample is.
    """

    name: str
    forward_flop: float
    input: str
    source: Source


@functools.cache
def _networks() -> dict[str, SampleNetwork]:
    found = {}
    for row in data.read_rows(data.file("sample_networks.csv"), COLUMNS):
        source = Source(title=row.text("source"), url=row.text("url"))
        for name in row.texts("names"):
            found[name] = SampleNetwork(name=name, forward_flop=row.number("forward_flop"), input=row.text("input"), source=source)
    return found


def sample_network(name: str) -> SampleNetwork | None:
    """The network of that name, in any case; None where there is none.

    >>> sample_network("YOLOv5s").forward_flop, sample_network("my network") is None
    (16500000000.0, True)
    """
    return _networks().get(name.strip().casefold())
