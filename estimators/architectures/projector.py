"""What leads the features of a tower over images or audio into the width of a language model."""

from __future__ import annotations

from estimators.architectures.block import Norm
from estimators.architectures.rows import edge_norm, elementwise, linear, parameters
from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class Projector:
    """A norm, and linear layers on what several neighbouring patches have in common, an activation before the last.

    Attributes:
        width: of a patch's features.
        merge: patches that are joined to one token.
        pooled: whether they are averaged rather than joined end to end.
        norm: None for none.
        norm_of_joined: whether it is over what is joined, and not over each patch.
        widths: outputs of the linear layers.
        biases: which of them have one.
        row_end: whether a learned vector ends each row of an image.
    """

    width: int
    merge: int = 1
    pooled: bool = False
    norm: Norm | None = None
    norm_of_joined: bool = False
    widths: tuple[int, ...]
    biases: tuple[bool, ...]
    row_end: bool = False

    def ops(self, w: Workload, patches: int, prefix: str) -> list[Op]:
        """Rows for so many patches of the whole step."""
        joined = self.width if self.pooled else self.width * self.merge
        rows, table = patches // self.merge, list[Op]()
        one = Workload(phase=w.phase, seq_len=max(1, rows), dtype=w.dtype)
        if self.norm:
            width, normed = (joined, rows) if self.norm_of_joined or self.pooled else (self.width, patches)
            table.append(edge_norm(w, prefix, width=width, gain=self.norm.gain, bias=self.norm.bias, rows=normed))
        d_in = joined
        for index, (d_out, bias) in enumerate(zip(self.widths, self.biases, strict=True)):
            last = index + 1 == len(self.widths)
            if last and index:
                table.append(elementwise(one, prefix, "activation", cut="whole", width=d_in))
            label = "out" if last else f"in.{index}" if index else "in"
            table.append(linear(w, prefix, "projection", "mlp", cut="whole", label=label, d_in=d_in, d_out=d_out, bias=bias, rows=rows))
            d_in = d_out
        if self.row_end:
            table.append(parameters(w, prefix, "row_end", "embedding", num=d_in))
        return table
