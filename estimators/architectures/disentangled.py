"""Attention with positions apart from content (DeBERTa): scores of words against words, words against distances."""

from __future__ import annotations

from functools import partial

from estimators.architectures.attention import Attention
from estimators.architectures.part import Part
from estimators.architectures.rows import convolution, edge_norm, linear, lookup, name_of, parameters, spare
from estimators.architectures.stems import TokenStem
from estimators.frozen import frozen, replace
from estimators.roles import Role
from estimators.spec import Op, Workload


@frozen
class DisentangledAttention(Part):
    """Attention whose scores are a sum: content to content, content to position, position to content.

    Attributes:
        attention: the content's.
        distances: rows of the table of relative positions; 0 where positions are in the content alone.
        content_to_position, position_to_content: which of the two are added.
        shared: whether positions go through the content's query and key matrices, or through ones of their own.
        sliced: whether of the table as many rows are looked at as the sequence has distances, and keys of positions have no bias (v1).
        biases: of queries and values, beside the content's one matrix (v1).

    Source: He et al. 2020 (arXiv 2006.03654), equation 4.
    """

    attention: Attention
    distances: int
    content_to_position: bool
    position_to_content: bool
    shared: bool
    sliced: bool = False
    biases: int = 0

    def rows(self, seq_len: int) -> int:
        """Of the table, those that a sequence of this length is scored against."""
        return min(self.distances, 2 * seq_len) if self.sliced else self.distances

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the content's attention, then of the projections of the table (once per layer, whatever the batch) and the scores."""
        project = partial(linear, w, prefix, count=count, recomputed=True)
        table = self.attention.ops(w, width, prefix, count)
        if self.biases:
            table.append(parameters(w, prefix, "biases", "attention", num=self.biases, count=count))
        if not self.distances:
            return table
        projections: tuple[tuple[Role, bool], ...] = (
            ("position_key", self.content_to_position),
            ("position_query", self.position_to_content),
        )
        for role, used in projections:
            if used or self.shared:
                inner = self.attention.inner_width
                bias = role != "position_key" or not self.sliced
                row = project(role, "attention", cut="columns", d_in=width, d_out=inner, bias=bias, rows=self.rows(w.seq_len))
                if self.shared:
                    row = replace(row, params=0, weight_bytes=0)
                table.append(row if used else replace(row, backward_flop=0))
        for name, used in (("content_to_position", self.content_to_position), ("position_to_content", self.position_to_content)):
            if used:
                table.append(self._scores(w, prefix, name, count))
        return table

    def _scores(self, w: Workload, prefix: str, label: str, count: int) -> Op:
        """Every token against every distance: 2·B·N·T·distances·H; a gather then picks the distances that occur."""
        n, h, t, r = self.attention.heads, self.attention.head_width, w.seq_len, self.rows(w.seq_len)
        flop = 2 * w.batch * n * t * r * h
        size = w.bytes_of(w.batch * n * (t * h + r * h + t * r))
        return Op(
            name=name_of(prefix, label),
            component="attention",
            kind="attention",
            part=prefix,
            role="position_scores",
            cut="heads",
            count=count,
            flop=flop,
            backward_flop=2 * flop,
            masked_flop=max(0, flop - 2 * w.batch * n * t * min(t, r) * h),
            activation_bytes=size,
            saved_bytes=w.bytes_of(w.batch * n * (t + r) * h),
            recomputed=True,
            mnk=(t, r, h),
        )


@frozen
class DistanceStem:
    """A token stem, and beside it the table of relative positions that all layers use, and a convolution (DeBERTa v2).

    Attributes:
        distances: rows of that table; 0 for none.
        distance_norm: whether there is a norm for it.
        kernel, groups: of a convolution over the embedded tokens, which is added behind the first layer; 0 for none.
    """

    tokens: TokenStem
    distances: int
    distance_norm: bool
    kernel: int = 0
    groups: int = 1

    def ops(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of the tokens, the distances and the convolution."""
        table = self.tokens.ops(w, width, prefix)
        if self.distances:
            table.append(lookup(w, f"{prefix}embedding", "distance", num_rows=self.distances, width=width))
        if self.distance_norm:
            part = f"{prefix}embedding.distance"
            used = edge_norm(w, part, width=width, bias=True, rows=self.distances)
            table.append(used if self.distances else spare(part, "norm", "norm", num=used.params))
        if self.kernel:
            part, t = f"{prefix}embedding", w.seq_len
            table.append(
                convolution(
                    w,
                    part,
                    "convolution",
                    "convolution",
                    channels_in=width,
                    channels_out=width,
                    taps=self.kernel,
                    in_positions=t,
                    out_positions=t,
                    groups=self.groups,
                    bias=True,
                )
            )
            table.append(edge_norm(w, f"{part}.convolution", width=width, bias=True))
        return table
