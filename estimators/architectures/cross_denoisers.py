"""Denoisers whose layers attend to the patches of a latent, then to a text, with one set of scales for all (PixArt, Wan, LTX-Video).

Wan's from image to video attend to vectors of that image as well, with keys and values of their own and the queries of the text's.
"""

from __future__ import annotations

from estimators.architectures.attention_rows import attention_products
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
        image_width, image_tokens: of the vectors of an image that each layer attends to beside the text; 0 for none.
        image_positions: rows of a table of positions for those vectors; 0 for none.
        steps_by_patch: whether each patch has a time step of its own (Wan 2.2's 5B, whose first frame may be given).

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
    image_width: int = 0
    image_tokens: int = 0
    image_positions: int = 0
    steps_by_patch: bool = False

    @property
    def begins_with_image(self) -> bool:
        """Whether it reads the latent of a video's beginning beside the one that it takes noise off."""
        return bool(self.frames) and self.latent_channels > self.out_channels

    @property
    def t5_tokens(self) -> int:
        """Tokens that it reads of a text encoder without a table of positions."""
        return self.text_tokens

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w, d = replace(workload, sample=None), self.width
        here = replace(w, seq_len=self.num_patches)
        timed = replace(w, batch=w.batch * (self.num_patches if self.steps_by_patch else 1))
        table = [self.patches_in(w), *two_linear(timed, "time", (self.frequencies, d, d))]
        if self.size_width:
            widths = (self.frequencies, self.size_width, self.size_width)
            table += [*two_linear(w, "size", widths, times=2), *two_linear(w, "aspect", widths)]
        table.append(linear(w, "time", "projection", "mlp", cut="whole", label="scales", d_in=d, d_out=6 * d, bias=True, rows=timed.batch))
        if self.projects_text:
            table += two_linear(replace(w, batch=w.batch * self.text_tokens), "text", (self.text_width, d, d))
        if self.image_width:
            table += self._image(w)
        table += self._layers(w, here)
        return (*table, parameters(w, "out", "scales", "norm", num=2 * d), *self.patches_out(here))

    def _image(self, w: Workload) -> list[Op]:
        """What makes the vectors of an image as wide as D."""
        seen, width = replace(w, seq_len=self.image_tokens), self.image_width
        return [
            *([parameters(w, "image", "positions", "embedding", num=self.image_positions * width)] if self.image_positions else []),
            norm(seen, "image", cut="whole", label="norm_in", width=width, bias=True),
            *two_linear(replace(w, batch=w.batch * self.image_tokens), "image", (width, width, self.width), data=False),
            norm(seen, "image", cut="whole", label="norm_out", width=self.width, bias=True),
        ]

    def _image_attention(self, w: Workload, here: Workload) -> list[Op]:
        """Keys and values of an image in every layer, and their products with the queries that the text's have."""
        part, d, n, seen = "layer.image_attention", self.width, self.layers, replace(w, seq_len=self.image_tokens)
        scores, context = attention_products(
            here,
            part,
            heads=self.heads,
            qk_width=d // self.heads,
            v_width=d // self.heads,
            cache_elements_per_token=0,
            cache_heads=self.heads,
            causal=False,
            keys=self.image_tokens,
            count=n,
        )
        return [
            linear(seen, part, "key", "attention", cut="columns", d_in=d, d_out=d, bias=True, count=n, recomputed=True),
            linear(seen, part, "value", "attention", cut="columns", d_in=d, d_out=d, bias=True, count=n, recomputed=True),
            norm(seen, part, cut="whole", label="key_norm", width=d, bias=False, count=n),
            replace(scores, reads=("layer.cross_attention.query", f"{part}.key")),
            context,
            elementwise(here, part, cut="whole", label="sum", width=d, reads=2, count=n, saved=False),
        ]

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
            beside=("layer.image_attention.context",) if self.image_width else (),
        )
        if self.norms_queries:
            table += [
                norm(here, "layer.cross_attention", cut="whole", label="query_norm", width=d, bias=False, count=n),
                norm(text, "layer.cross_attention", cut="whole", label="key_norm", width=d, bias=False, count=n),
            ]
        if self.image_width:
            table += self._image_attention(w, here)
        return [
            *table,
            linear(here, "layer.mlp", "up", "mlp", cut="columns", d_in=d, d_out=self.inner, bias=True, count=n, recomputed=True),
            elementwise(here, "layer.mlp", "activation", cut="columns", width=self.inner, count=n),
            linear(here, "layer.mlp", "down", "mlp", cut="rows", d_in=self.inner, d_out=d, bias=True, count=n, recomputed=True),
            elementwise(here, "layer", "residual", cut="whole", width=d, reads=2, count=3 * n, saved=False),
        ]
