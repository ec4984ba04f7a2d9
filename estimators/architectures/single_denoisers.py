"""Denoisers in which a text and the patches of a latent become one sequence, each behind a few layers of its own (Z-Image)."""

from __future__ import annotations

from estimators.architectures.denoisers import FREQUENCIES, PatchTransformer
from estimators.architectures.maps import attention_over, two_linear
from estimators.architectures.rows import edge_norm, elementwise, linear, norm, parameters
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload

WHOLE = 32
"""To a multiple of so many tokens each sequence is filled up (SEQ_MULTI_OF of diffusers' transformer_z_image)."""

TIMED = 1024
"""Width between the two matrices that embed a time step."""


@frozen
class SingleStream(PatchTransformer):
    """Layers with norms before and behind attention and a gated feed-forward, scaled and gated by a narrow vector of the time step.

    Attributes:
        inner: width of the feed-forward.
        text_width, text_tokens: of the sequence that it reads.
        refiners: layers over the patches alone, and as many over the text alone, which no time step steers.
        norms_queries: whether queries and keys are normed, head by head.

    Source: Z-Image Team 2025, Z-Image (arXiv 2511.22699), as diffusers' ZImageTransformer2DModel builds it.
    """

    inner: int
    text_width: int
    text_tokens: int
    refiners: int
    norms_queries: bool = True

    @property
    def t5_tokens(self) -> int:
        """Tokens that it reads of a text encoder without a table of positions."""
        return self.text_tokens

    @property
    def steering(self) -> int:
        """Width of the vector of the time step."""
        return min(self.width, FREQUENCIES)

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w, d = replace(workload, sample=None), self.width
        image, text = (replace(w, seq_len=-(-tokens // WHOLE) * WHOLE) for tokens in (self.num_patches, self.text_tokens))
        both = replace(w, seq_len=image.seq_len + text.seq_len)
        patch, made = self.patch**2 * self.latent_channels, self.patch**2 * self.out_channels
        return (
            *two_linear(w, "time", (FREQUENCIES, TIMED, self.steering)),
            linear(image, "image", "projection", "embedding", cut="whole", label="in", d_in=patch, d_out=d, bias=True, input_grad=False),
            parameters(w, "image", "filling", "embedding", num=d),
            *self._layers(image, "image.layer", self.refiners, steered=True),
            norm(text, "text", cut="whole", width=self.text_width, bias=False),
            linear(text, "text", "projection", "embedding", cut="whole", label="in", d_in=self.text_width, d_out=d, bias=True),
            parameters(w, "text", "filling", "embedding", num=d),
            *self._layers(text, "text.layer", self.refiners, steered=False),
            *self._layers(both, "layer", self.layers, steered=True),
            self._scales(both, "out", 1, 1),
            edge_norm(both, "out", width=d, gain=False, bias=False),
            elementwise(both, "out", cut="whole", label="scaling", width=d),
            linear(both, "out", "projection", "head", cut="whole", label="patch", d_in=d, d_out=made, bias=True),
        )

    def _scales(self, here: Workload, part: str, num: int, count: int) -> Op:
        """The matrix that makes scales and gates of the time step's vector."""
        row = linear(
            here,
            part,
            "projection",
            "mlp",
            cut="whole",
            label="scales",
            d_in=self.steering,
            d_out=num * self.width,
            bias=True,
            rows=here.batch,
        )
        return replace(row, count=count)

    def _layers(self, here: Workload, part: str, count: int, *, steered: bool) -> list[Op]:
        d, heads = self.width, self.heads
        if not count:
            return []
        table = [self._scales(here, part, 4, count)] if steered else []
        table += [
            norm(here, part, cut="whole", width=d, bias=False, count=4 * count),
            *attention_over(here, f"{part}.attention", d, heads, count=count, out_bias=False),
        ]
        if self.norms_queries:
            rows = here.num_tokens * heads
            table.append(
                norm(
                    here,
                    f"{part}.attention",
                    cut="whole",
                    label="head_norm",
                    width=d // heads,
                    bias=False,
                    rows=rows,
                    count=2 * count,
                )
            )
        if steered:
            table.append(elementwise(here, part, cut="whole", label="scaling", width=d, count=4 * count))
        return [
            *table,
            linear(here, f"{part}.mlp", "gate_up", "mlp", cut="columns", d_in=d, d_out=2 * self.inner, count=count, recomputed=True),
            elementwise(here, f"{part}.mlp", "activation", cut="columns", width=self.inner, reads=2, count=count),
            linear(here, f"{part}.mlp", "down", "mlp", cut="rows", d_in=self.inner, d_out=d, count=count, recomputed=True),
            elementwise(here, part, "residual", cut="whole", width=d, reads=2, count=2 * count, saved=False),
        ]
