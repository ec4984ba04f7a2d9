"""Embeddings of each layer's own: a table that a token looks up once, and what each layer adds of it to the stream (Gemma 3n, Gemma 4)."""

from __future__ import annotations

from functools import partial

from estimators.architectures.part import Part
from estimators.architectures.rows import elementwise, linear, lookup, norm
from estimators.frozen import frozen
from estimators.spec import Op, Workload


@frozen
class LayerInputs:
    """What stands beside a decoder's embedding: for each layer a vector by the token, and one projected from its embedding.

    Attributes:
        vocab: rows of the table.
        width: of one layer's vector.
    """

    vocab: int
    width: int

    def ops(self, w: Workload, width: int, layers: int) -> list[Op]:
        """Rows for all layers, D = width."""
        of_all = layers * self.width
        return [
            lookup(w, "embedding", "layer_token", num_rows=self.vocab, width=of_all),
            linear(w, "embedding", "projection", "embedding", cut="whole", label="layer_projection", d_in=width, d_out=of_all),
            norm(
                w, "embedding", cut="whole", label="layer_norm", width=self.width, bias=False, rows=w.num_tokens * layers, recomputed=False
            ),
        ]


@frozen
class LayerInput(Part):
    """What one layer makes of its vector: the stream, narrowed and activated, times the vector, widened and normed.

    Attributes:
        width: of the vector.
        activation: name of the activation function.
    """

    width: int
    activation: str

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of `count` such layers, D = width."""
        project = partial(linear, w, prefix, count=count, cut="whole", recomputed=True)
        gate = project("layer_gate", "mlp", d_in=width, d_out=self.width)
        return [
            gate,
            elementwise(w, prefix, cut="whole", label="gating", width=self.width, reads=2, count=count),
            project("layer_up", "mlp", d_in=self.width, d_out=width, reads=(gate.name,)),
            norm(w, prefix, cut="whole", width=width, bias=False, count=count),
        ]
