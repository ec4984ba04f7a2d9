"""Encoders over the samples of a recording: wav2vec 2.0, HuBERT, WavLM. A sample of a step is one recording."""

from __future__ import annotations

from estimators.architectures.attention import Attention
from estimators.architectures.block import Norm
from estimators.architectures.encoder import Projection, Tower
from estimators.architectures.part import Part
from estimators.architectures.rows import convolution, edge_norm, elementwise, linear, parameters
from estimators.architectures.vision import demand_samples
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.samples import Audio
from estimators.spec import Model, Op, Source, Workload

SAMPLE_RATE = 16_000
"""Samples per second that all of them were trained on.

Source: Baevski et al. 2020, wav2vec 2.0 (arXiv 2006.11477), section 4.2.
"""

CROP_SAMPLES = 250_000
"""Samples of one recording where nothing else is said: what BASE is pre-trained on, 15.6 s.

Source: as SAMPLE_RATE's.
"""


@frozen
class WaveStem:
    """Filters one behind the other over the samples, a projection, and a filter over its result that stands for positions.

    Attributes:
        samples: of one recording.
        widths, kernels, strides: channels, samples under the filter, and step of each filter.
        bias: of the filters.
        normed: how many of them have a norm: the first alone, of each channel over time, or all, of all channels.
        projection_norm: whether a norm stands before the projection.
        position_kernel, position_groups: of the filter that stands for positions.
        position_batch_norm: whether a norm over the batch stands before it; else its weight is a direction and a length per tap.
        norm: behind the sum with it; None where layers begin with one.
        activation: behind every filter.
        mask: whether there is a learned vector in the place of what is hidden in training.
    """

    samples: int
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    bias: bool
    normed: int
    projection_norm: bool
    position_kernel: int
    position_groups: int
    position_batch_norm: bool
    norm: Norm | None
    activation: str
    mask: bool

    @property
    def lengths(self) -> tuple[int, ...]:
        """Positions before the first filter and behind each."""
        found = [self.samples]
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            found.append((found[-1] - kernel) // stride + 1)
        return tuple(found)

    @property
    def tokens(self) -> int:
        """Positions that are left of one recording.

        >>> from estimators.architectures.block import LAYER_NORM
        >>> usual = dict(widths=(512,) * 7, kernels=(10, 3, 3, 3, 3, 2, 2), strides=(5, 2, 2, 2, 2, 2, 2), bias=False, normed=1,
        ...     projection_norm=True, position_kernel=128, position_groups=16, position_batch_norm=False, norm=LAYER_NORM,
        ...     activation="gelu", mask=True)
        >>> WaveStem(samples=16_000, **usual).tokens
        49
        """
        return self.lengths[-1]

    @property
    def fewest_samples(self) -> int:
        """Of the shortest recording that leaves a position."""
        needed = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            needed = (needed - 1) * stride + kernel
        return needed

    def ops(self, w: Workload, width: int, prefix: str) -> list[Op]:
        """Rows of the filters, the projection and the positions."""
        part, table, channels = f"{prefix}embedding", list[Op](), 1
        lengths = self.lengths
        for i, (out, kernel) in enumerate(zip(self.widths, self.kernels, strict=True)):
            name = f"conv{i + 1}"
            table.append(
                convolution(
                    w,
                    part,
                    name,
                    "embedding",
                    channels_in=channels,
                    channels_out=out,
                    taps=kernel,
                    in_positions=lengths[i],
                    out_positions=lengths[i + 1],
                    bias=self.bias,
                    input_grad=i > 0,
                )
            )
            here = replace(w, seq_len=lengths[i + 1])
            if i < self.normed:
                table.append(edge_norm(here, f"{part}.{name}", width=out, bias=True))
            table.append(elementwise(here, f"{part}.{name}", "activation", cut="whole", width=out, recomputed=False))
            channels = out
        if self.projection_norm:
            table.append(edge_norm(w, f"{part}.projection", width=channels, bias=True))
        table.append(linear(w, part, "project_in", "embedding", cut="whole", d_in=channels, d_out=width, bias=True))
        if self.mask:
            table.append(parameters(w, part, "mask", "embedding", num=width))
        return [*table, *self._positions(w, width, part)]

    def _positions(self, w: Workload, width: int, part: str) -> list[Op]:
        """A filter with as much border as it is wide makes one position more where its width is even, and that is cut off."""
        table = [edge_norm(w, f"{part}.position", width=width, bias=True)] if self.position_batch_norm else []
        table.append(
            convolution(
                w,
                part,
                "position",
                "embedding",
                channels_in=width,
                channels_out=width,
                taps=self.position_kernel,
                in_positions=w.seq_len,
                out_positions=w.seq_len + 2 * (self.position_kernel // 2) - self.position_kernel + 1,
                groups=self.position_groups,
                bias=True,
            )
        )
        if not self.position_batch_norm:
            table.append(parameters(w, f"{part}.position", "lengths", "embedding", num=self.position_kernel))
        table.append(elementwise(w, f"{part}.position", "activation", cut="whole", width=width, recomputed=False))
        if self.norm:
            table.append(edge_norm(w, part, width=width, gain=self.norm.gain, bias=self.norm.bias))
        return table


GATES = 8
"""Outputs of the matrix that makes the two gates of a head, four added up for each.

Source: transformers 5, WavLMAttention.
"""


@frozen
class GatedBiasAttention(Part):
    """Attention with a learned bias by distance, which each query weakens or strengthens by gates of its own (WavLM).

    Attributes:
        attention: without the bias.
        buckets: rows of the table of biases, which the first layer owns; 0 for the layers behind it.

    Source: Chen et al. 2021, WavLM (arXiv 2110.13900), section III-A.
    """

    attention: Attention
    buckets: int

    def ops(self, w: Workload, width: int, prefix: str, count: int) -> list[Op]:
        """Rows of the attention, its gates and the table."""
        heads, h = self.attention.heads, self.attention.head_width
        rows = w.num_tokens * heads
        gate = linear(
            w,
            prefix,
            "linear",
            "attention",
            cut="whole",
            label="gate",
            d_in=h,
            d_out=GATES,
            bias=True,
            rows=rows,
            count=count,
            recomputed=True,
        )
        table = [*self.attention.ops(w, width, prefix, count), gate]
        table.append(parameters(w, prefix, "gate_scale", "attention", num=heads, count=count))
        if self.buckets:
            table.append(parameters(w, prefix, "position_bias", "attention", num=self.buckets * heads, count=count))
        return table


@frozen
class WaveEncoder(Model):
    """A tower over the samples of one recording, and its heads.

    Attributes:
        runs: the class of transformers that this is.
        stem: of the tower.
        heads: behind it.
        averaged_layers: learned weights of a mean over all layers' outputs; 0 for none.
    """

    name: str
    source: Source
    runs: str
    stem: WaveStem
    tower: Tower
    heads: tuple[Projection, ...]
    averaged_layers: int = 0

    @property
    def tokens(self) -> int:
        """Of one recording."""
        return self.stem.tokens

    @property
    def sample(self) -> Audio:
        """A recording as long as it was pre-trained on."""
        return Audio(duration_s=self.stem.samples / SAMPLE_RATE)

    def sized(self, audio: Audio) -> WaveEncoder:
        """The same model on recordings of another length.

        Raises:
            BadValueError: one that is too short to leave a position.
        """
        if audio == self.sample:
            return self
        samples, least = round(audio.duration_s * SAMPLE_RATE), self.stem.fewest_samples
        if samples < least:
            raise BadValueError(f"{audio}: {self.name} needs {least:,} samples at least, {least / SAMPLE_RATE:g} s")
        stem = replace(self.stem, samples=samples)
        return replace(self, stem=stem, tower=replace(self.tower, stem=stem))

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch recordings. Raises BadValueError for a phase, a length or a sample that it does not have."""
        demand_samples(self.name, workload, self.phases)
        if isinstance(workload.sample, Audio) and workload.sample != self.sample:
            return self.sized(workload.sample).ops(replace(workload, sample=None))
        self.demand_sample(workload)
        w = replace(workload, seq_len=self.tokens)
        table = self.tower.ops(w)
        if self.averaged_layers:
            table.append(parameters(w, "head", "layer_weights", "head", num=self.averaged_layers))
        for head in self.heads:
            table += head.ops(w)
        return tuple(table)
