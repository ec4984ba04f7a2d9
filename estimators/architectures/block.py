"""A layer and how often it is repeated: what mixes tokens, what follows it, the norms around them."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.connections import Connections
from estimators.architectures.part import Compound, Part, apart
from estimators.architectures.rows import checkpoint, elementwise, idle, norm
from estimators.frozen import frozen, replace
from estimators.roles import NormForm
from estimators.spec import Op, Workload


@frozen
class Beside(Compound):
    """Parts that read the same input, and whose outputs are added: attention and a state-space mixer in one layer.

    Attributes:
        parts: name to part.
    """

    parts: tuple[tuple[str, Part], ...]

    @property
    def inside(self) -> tuple[Part, ...]:
        """Its parts."""
        return tuple(part for _, part in self.parts)

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of all of them, each named after its part alone."""
        outer = prefix.rpartition(".")[0]
        return [op for name, part in self.parts for op in part.ops(w, width, f"{outer}.{name}", count)]


@frozen
class Norm:
    """How the norms of a model look.

    Attributes:
        gain, bias: which parameters they have: layer norm both, RMS norm a gain, a bare norm none.
        written: how transformers writes it, where its parameters do not say.
    """

    gain: bool = True
    bias: bool = False
    written: NormForm = ""

    @property
    def form(self) -> NormForm:
        """How it is written."""
        return self.written or ("layer" if self.bias else "rms")


LAYER_NORM, RMS_NORM = Norm(bias=True), Norm()


@frozen
class Block:
    """`count` equal layers.

    Attributes:
        parts: name to part, in order: usually attention and mlp; a decoder beside an encoder has cross_attention too.
        norms: norms per layer, each of model width.
        norm: how they look.
        parallel: whether all parts read the layer's input, instead of each the sum that the part before it left.
        prenorm: whether a norm stands before each part, rather than only behind it.
        norm_of_sum: whether a norm behind a part sees its output with the residual added, rather than before.
        unnormed: parts, the last ones, around which none of the norms stand.
        connections: what stands around each part, or around all, in place of a residual; None for a residual.
        last_alone: whether a prefill runs it on the last position alone: a layer that writes no cache, with none behind it that does.
        of_source: whether it runs only where there is a source that it attends to: features of images (Llama 3.2 Vision).
    """

    count: int
    parts: tuple[tuple[str, Part], ...]
    norms: int
    norm: Norm
    parallel: bool = False
    prenorm: bool = True
    norm_of_sum: bool = False
    unnormed: int = 0
    connections: Connections | None = None
    last_alone: bool = False
    of_source: bool = False

    def ops(self, w: Workload, width: int, prefix: str = "layer") -> list[Op]:
        """Rows of all layers of the block."""
        if self.of_source and not w.source_len:
            return [idle(op) for op in replace(self, of_source=False).ops(w, width, prefix)]
        if self.last_alone and w.phase == "prefill":
            w = replace(w, seq_len=1, context_len=w.context_len + w.seq_len - 1)
        table = self.before(w, width, prefix)
        for name, part in self.parts:
            table += [*self.around(w, width, f"{prefix}.{name}"), *part.ops(w, width, f"{prefix}.{name}", self.count)]
        return [*table, *self.behind(w, width, prefix), *self.between(w, width, prefix)]

    def before(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of what stands before the first part."""
        return self.connections.before_ops(w, width, f"{prefix}.streams", self.count) if self.connections else []

    def behind(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of what stands behind the last part."""
        return self.connections.behind_ops(w, width, f"{prefix}.streams", self.count) if self.connections else []

    def around(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of what stands around one part, called `prefix`, in place of a residual."""
        return self.connections.ops(w, width, f"{prefix}_streams", self.count) if self.connections else []

    def between(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of what belongs to no part: norms and residuals, and what checkpointing keeps."""
        table: list[Op] = []
        if self.norms:
            table.append(norm(w, prefix, cut="whole", width=width, gain=self.norm.gain, bias=self.norm.bias, count=self.count * self.norms))
        streams = self.connections.streams if self.connections else 1
        if not self.connections or self.connections.adds_within:
            residuals = self.count * len(self.parts)
            table.append(elementwise(w, prefix, "residual", cut="whole", width=width, reads=2, count=residuals, saved=False))
        if w.recompute == "full":
            table.append(checkpoint(w, prefix, width=streams * width, count=self.count))
        return table

    @property
    def attention(self) -> Attention | None:
        """The layer's self-attention, if it has one of the usual kind."""
        parts = apart(part for _, part in self.parts)
        return next((part for part in parts if isinstance(part, Attention) and not part.cross), None)
