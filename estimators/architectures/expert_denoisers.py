"""Denoisers whose layers treat a text and the patches of a video alike but for their scales, shifts and gates (CogVideoX)."""

from __future__ import annotations

from estimators.architectures.denoisers import PatchTransformer
from estimators.architectures.maps import attention_over, two_linear
from estimators.architectures.rows import convolution, edge_norm, elementwise, linear, norm
from estimators.frozen import frozen, replace
from estimators.spec import Op, Workload


@frozen
class ExpertTransformer(PatchTransformer):
    """One sequence of a text and of patches; before attention and feed-forward a vector of the time step scales each in a way of its own.

    Attributes:
        text_width, text_tokens: of the sequence that it reads.
        timed: width of the vector of the time step.
        embeds_offset: whether an offset in time is embedded beside it, and as wide (CogVideoX 1.5 from an image).
        patch_frames: of the latent, that a patch has; a latent is filled up to whole patches.
        attention_bias: whether queries, keys and values have one.
        patch_bias: whether what makes a vector of a patch has one.
        norms_affine: whether norms have gain and bias.

    Source: Yang et al. 2024, CogVideoX (arXiv 2408.06072), section 2.2, expert adaptive layer norm; as diffusers builds it.
    """

    text_width: int
    text_tokens: int
    timed: int
    embeds_offset: bool = False
    patch_frames: int = 1
    attention_bias: bool = True
    patch_bias: bool = True
    norms_affine: bool = True

    @property
    def t5_tokens(self) -> int:
        """Tokens that it reads of a text encoder without a table of positions."""
        return self.text_tokens

    @property
    def begins_with_image(self) -> bool:
        """Whether it reads the latent of a video's beginning beside the one that it takes noise off."""
        return self.latent_channels > self.out_channels

    @property
    def num_patches(self) -> int:
        """Patches of a sample."""
        return -(-self.latent_frames // self.patch_frames) * self.grid[0] * self.grid[1]

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w, d = replace(workload, sample=None), self.width
        image, text = replace(w, seq_len=self.num_patches), replace(w, seq_len=self.text_tokens)
        taps, affine = self.patch_frames * self.patch**2, self.norms_affine
        patch = convolution(
            w,
            "embedding",
            "patch",
            "embedding",
            channels_in=self.latent_channels,
            channels_out=d,
            taps=taps,
            in_positions=self.num_patches * taps,
            out_positions=self.num_patches,
            bias=self.patch_bias,
            input_grad=False,
        )
        table = [patch, *two_linear(w, "time", (d, self.timed, self.timed))]
        if self.embeds_offset:
            table += two_linear(w, "offset", (self.timed, self.timed, self.timed))
        return (
            *table,
            linear(
                text, "text", "projection", "embedding", cut="whole", label="in", d_in=self.text_width, d_out=d, bias=True, input_grad=False
            ),
            *self._layers(replace(w, seq_len=image.seq_len + text.seq_len)),
            edge_norm(image, "final", width=d, gain=affine, bias=affine),
            self._scales(w, "out", 2, 1),
            edge_norm(image, "out", width=d, gain=affine, bias=affine),
            elementwise(image, "out", cut="whole", label="scaling", width=d),
            linear(image, "out", "projection", "head", cut="whole", label="patch", d_in=d, d_out=taps * self.out_channels, bias=True),
        )

    def _scales(self, w: Workload, part: str, num: int, count: int) -> Op:
        """The matrix that makes scales, shifts and gates of the time step's vector."""
        d_out = num * self.width
        row = linear(w, part, "projection", "mlp", cut="whole", label="scales", d_in=self.timed, d_out=d_out, bias=True, rows=w.batch)
        return replace(row, count=count)

    def _layers(self, both: Workload) -> list[Op]:
        d, n, affine, rows = self.width, self.layers, self.norms_affine, both.num_tokens * self.heads
        head = d // self.heads
        return [
            self._scales(both, "layer", 6, 2 * n),
            norm(both, "layer", cut="whole", width=d, gain=affine, bias=affine, count=2 * n),
            elementwise(both, "layer", cut="whole", label="scaling", width=d, count=4 * n),
            *attention_over(both, "layer.attention", d, self.heads, count=n, bias=self.attention_bias),
            norm(both, "layer.attention", cut="whole", label="head_norm", width=head, bias=True, rows=rows, count=2 * n),
            linear(both, "layer.mlp", "up", "mlp", cut="columns", d_in=d, d_out=4 * d, bias=True, count=n, recomputed=True),
            elementwise(both, "layer.mlp", "activation", cut="columns", width=4 * d, count=n),
            linear(both, "layer.mlp", "down", "mlp", cut="rows", d_in=4 * d, d_out=d, bias=True, count=n, recomputed=True),
            elementwise(both, "layer", "residual", cut="whole", width=d, reads=2, count=2 * n, saved=False),
        ]
