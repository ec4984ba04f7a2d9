"""Denoisers whose layers attend to the patches of a latent, then to a text, steered by one set of scales for all layers (PixArt, Wan)."""

from __future__ import annotations

from estimators.architectures.denoisers import PatchTransformer
from estimators.architectures.maps import attention_over, two_linear
from estimators.architectures.rows import elementwise, linear, norm, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class CrossTransformer(PatchTransformer):
    """Scales, shifts and gates are made of the time step once; each layer adds a table of its own to them.

    Attributes:
        inner: width of the feed-forward.
        text_width, text_tokens: of the sequence that it reads.
        projects_text: whether two matrices with an activation between make that as wide as D; else it is read as it is.
        attention_bias: whether queries, keys and values have one.
        frequencies: sines and cosines that embed the time step.
        norms_queries: whether queries and keys are normed, all heads together.
        norms_before_text: whether a norm with gain and bias stands before the attention to the text.
        size_width: of the embeddings of the image's height, width and aspect ratio, side by side as wide as D; 0 for none.

    Source: Chen et al. 2023, PixArt-α (arXiv 2310.00426), section 2.3, adaLN-single; Wan Team 2025, Wan (arXiv 2503.20314).
    """

    inner: int
    text_width: int
    text_tokens: int
    projects_text: bool
    attention_bias: bool
    frequencies: int
    norms_queries: bool = False
    norms_before_text: bool = False
    size_width: int = 0

    @property
    def t5_tokens(self) -> int:
        """Tokens that it reads of a text encoder without a table of positions."""
        return self.text_tokens

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w, d = replace(workload, sample=None), self.width
        here = replace(w, seq_len=self.num_patches)
        table = [self.patches_in(w), *two_linear(w, "time", (self.frequencies, d, d))]
        if self.size_width:
            widths = (self.frequencies, self.size_width, self.size_width)
            table += [*two_linear(w, "size", widths, times=2), *two_linear(w, "aspect", widths)]
        table.append(linear(w, "time", "projection", "mlp", cut="whole", label="scales", d_in=d, d_out=6 * d, bias=True, rows=w.batch))
        if self.projects_text:
            table += two_linear(replace(w, batch=w.batch * self.text_tokens), "text", (self.text_width, d, d))
        table += self._layers(w, here)
        return (*table, parameters(w, "out", "scales", "norm", num=2 * d), *self.patches_out(here))

    def _layers(self, w: Workload, here: Workload) -> list[Op]:
        d, n, text = self.width, self.layers, replace(w, seq_len=self.text_tokens)
        seen = (d if self.projects_text else self.text_width, self.text_tokens)
        table = [
            parameters(w, "layer", "scales", "norm", num=6 * d, count=n),
            norm(here, "layer", cut="whole", width=d, gain=False, bias=False, count=2 * n),
            elementwise(here, "layer", cut="whole", label="scaling", width=d, count=4 * n),
            *attention_over(here, "layer.attention", d, self.heads, count=n, bias=self.attention_bias),
        ]
        if self.norms_queries:
            table.append(norm(here, "layer.attention", cut="whole", label="query_norm", width=d, bias=False, count=2 * n))
        if self.norms_before_text:
            table.append(norm(here, "layer.cross_attention", cut="whole", width=d, bias=True, count=n))
        table += attention_over(
            here,
            "layer.cross_attention",
            d,
            self.heads,
            count=n,
            bias=self.attention_bias,
            source=seen,
            source_grad=self.projects_text,
        )
        if self.norms_queries:
            table += [
                norm(here, "layer.cross_attention", cut="whole", label="query_norm", width=d, bias=False, count=n),
                norm(text, "layer.cross_attention", cut="whole", label="key_norm", width=d, bias=False, count=n),
            ]
        return [
            *table,
            linear(here, "layer.mlp", "up", "mlp", cut="columns", d_in=d, d_out=self.inner, bias=True, count=n, recomputed=True),
            elementwise(here, "layer.mlp", "activation", cut="columns", width=self.inner, count=n),
            linear(here, "layer.mlp", "down", "mlp", cut="rows", d_in=self.inner, d_out=d, bias=True, count=n, recomputed=True),
            elementwise(here, "layer", "residual", cut="whole", width=d, reads=2, count=3 * n, saved=False),
        ]
