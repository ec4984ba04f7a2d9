"""What a launcher's file says beside the layout."""

from __future__ import annotations

from estimators.frozen import frozen


@frozen
class Setup:
    """Of the run.

    Attributes:
        layers: of the model; uneven pipeline stages are spelt out.
        devices_per_node: how many processes one machine starts.
    """

    seq_len: int
    layers: int
    dtype: str
    devices_per_node: int


def stage_sizes(layers: int, stages: int) -> list[int]:
    """Layers of each stage, as even as they go, the shorter ones at the ends, where embedding and head are.

    >>> stage_sizes(126, 16)
    [7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7]
    """
    least, longer = divmod(layers, stages)
    before = (stages - longer) // 2 + (stages - longer) % 2
    return [least + (before <= stage < before + longer) for stage in range(stages)]
