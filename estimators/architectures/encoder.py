"""Encoders: layers in which every token sees every other, and the heads behind them (BERT and its kin)."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from estimators.architectures.block import Block, Norm
from estimators.architectures.pooling import AttentionPool
from estimators.architectures.rows import edge_norm, linear, spare
from estimators.architectures.stems import Stem, TokenStem
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.roles import Cut, Role
from estimators.spec import Item, Model, Op, Phase, Source, Workload


class Layers(Protocol):
    """A run of layers."""

    def ops(self, w: Workload, width: int, prefix: str = "layer") -> list[Op]:
        """Rows of all of them."""
        ...


@frozen
class SharedBlock:
    """Layers that run with the weights of an earlier block: they cost work and own nothing (ALBERT).

    Source: Lan et al. 2019 (arXiv 1909.11942), section 3.1, cross-layer parameter sharing.
    """

    block: Block

    def ops(self, w: Workload, width: int, prefix: str = "layer") -> list[Op]:
        """Rows of the block without parameters; its weights were read for the layers that own them."""
        return [replace(op, params=0, weight_bytes=0) for op in self.block.ops(w, width, prefix)]


@frozen
class Tower:
    """What turns one input into vectors: a stem, layers, a norm.

    Attributes:
        width: D.
        final_norm: behind the last layer; None for none.
        norm_per_sample: whether that norm sees one vector per sample, not one per token.
        pool: behind that norm; None for none.
    """

    stem: Stem
    width: int
    blocks: tuple[Layers, ...]
    final_norm: Norm | None = None
    norm_per_sample: bool = False
    pool: AttentionPool | None = None

    def ops(self, w: Workload, prefix: str = "") -> list[Op]:
        """Rows of one pass over batch x seq_len tokens."""
        table = self.stem.ops(w, self.width, prefix)
        for i, block in enumerate(self.blocks):
            table += block.ops(w, self.width, f"{prefix}layer" if len(self.blocks) == 1 else f"{prefix}layer.{i}")
        if self.final_norm:
            gain, bias, rows = self.final_norm.gain, self.final_norm.bias, w.batch if self.norm_per_sample else w.num_tokens
            table.append(edge_norm(w, f"{prefix}final", width=self.width, gain=gain, bias=bias, rows=rows))
        if self.pool:
            table += self.pool.ops(w, self.width, f"{prefix}pool")
        return table


@frozen
class Projection:
    """A linear layer behind the layers, and the norm behind it.

    Attributes:
        per: whether every token or every sample goes through it.
        component: head where it makes logits; pooler or transform before.
        cut: vocabulary where it makes a logit for each of its entries.
        owned: False where it reuses the token table.
        spare: parameters beside it that no step uses.
    """

    name: str
    d_in: int
    d_out: int
    bias: bool = True
    per: Literal["token", "sample"] = "token"
    component: str = "head"
    cut: Cut = "whole"
    owned: bool = True
    norm: Norm | None = None
    spare: int = 0

    def ops(self, w: Workload) -> list[Op]:
        """Its rows. A bias is owned even where the weight is not."""
        rows = w.num_tokens if self.per == "token" else w.batch
        role: Role = "head" if self.component == "head" else "projection"
        row = linear(
            w, "", role, self.component, cut=self.cut, label=self.name, d_in=self.d_in, d_out=self.d_out, bias=self.bias, rows=rows
        )
        if not self.owned:
            row = replace(row, params=self.d_out if self.bias else 0)
        table = [row]
        if self.norm:
            table.append(edge_norm(w, self.name, width=self.d_out, gain=self.norm.gain, bias=self.norm.bias, rows=rows))
        if self.spare:
            table.append(spare(self.name, "spare", self.component, num=self.spare))
        return table


def demand_phase(name: str, workload: Workload, phases: tuple[Phase, ...]) -> None:
    """Refuse a phase that a model does not have. Raises BadValueError."""
    if workload.phase not in phases:
        expected = f"expected one of: {', '.join(phases)}"
        raise BadValueError(f"phase {workload.phase!r}: {name} has no decoder, so that it does not generate; {expected}")


@frozen
class Encoder(Model):
    """A tower over tokens and its heads.

    Attributes:
        runs: the class of transformers that this is.
        max_positions: the longest sequence that the model was made for.
    """

    item: ClassVar[Item] = "token"

    name: str
    source: Source
    runs: str
    tower: Tower
    heads: tuple[Projection, ...]
    max_positions: int

    @property
    def positions(self) -> int:
        """Rows of the table of positions; 0 where positions are computed."""
        return self.tower.stem.positions if isinstance(self.tower.stem, TokenStem) else 0

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step.

        Raises:
            BadValueError: a phase that an encoder does not have, a cache, or samples that are no text.
        """
        demand_phase(self.name, workload, self.phases)
        self.demand_sample(workload)
        if workload.context_len or workload.source_len:
            given = f"context_len {workload.context_len}, source_len {workload.source_len}"
            raise BadValueError(f"{given}: {self.name} reads one sequence at once and keeps nothing; leave both at 0")
        table = self.tower.ops(workload)
        for head in self.heads:
            table += head.ops(workload)
        return tuple(table)
