"""Denoisers in whose layers a text and a latent's patches attend to each other (Stable Diffusion 3, Flux, Qwen-Image, HunyuanVideo)."""

from __future__ import annotations

from estimators.architectures.attention_rows import attention_products
from estimators.architectures.denoisers import FREQUENCIES, PatchTransformer
from estimators.architectures.maps import attention_over, two_linear
from estimators.architectures.rows import elementwise, linear, norm
from estimators.frozen import frozen, replace
from estimators.roles import Role
from estimators.spec import Op, Workload

STREAMS = ("image", "text")

OPERANDS: tuple[Role, ...] = ("query", "key", "value")


@frozen
class JointTransformer(PatchTransformer):
    """Layers with weights of their own for the text and for the image, then layers in which both go through the same.

    Counted as diffusers runs it: in the last layer of Stable Diffusion 3 nothing reads the text behind its keys and values, and diffusers
    multiplies its queries and their keys all the same; in the last of Qwen-Image it runs the text's feed-forward as well, whose gradient
    nobody needs.

    Attributes:
        text_width, text_tokens: of the sequence that it reads, and pooled_width of one vector beside it; 0 for none.
        clip_tokens: of those tokens, the first, which come of encoders with a table of positions.
        singles: layers behind the `layers`, whose attention and feed-forward are side by side, and share one matrix behind both.
        duals: of the `layers`, those with a second attention, of the image alone.
        norms_queries: whether queries and keys are normed, head by head.
        refiners: layers over the text alone before all others, each gated by its mean and the time step.
        norms_text: whether a norm with gain stands before the text's projection.
        text_ends: whether the last of the `layers` only reads the text.
        text_unread: whether the last of the `layers` makes a text that nothing reads.
        distilled: whether it was made to need no second pass for guidance.
        embeds_guidance: whether the strength of guidance is embedded beside the time step.

    Source: Esser et al. 2024, Scaling Rectified Flow Transformers (arXiv 2403.03206), figure 2; Dehghani et al. 2023 (arXiv 2302.05442),
        section 2, for layers with both parts side by side.
    """

    text_width: int
    text_tokens: int
    pooled_width: int = 0
    clip_tokens: int = 0
    singles: int = 0
    duals: int = 0
    refiners: int = 0
    norms_queries: bool = False
    norms_text: bool = False
    text_ends: bool = False
    text_unread: bool = False
    distilled: bool = False
    embeds_guidance: bool = False

    @property
    def t5_tokens(self) -> int:
        """Tokens that it reads of a text encoder without a table of positions."""
        return self.text_tokens - self.clip_tokens

    @property
    def one_pass(self) -> str:
        """Why guidance takes no second pass of a step; empty where it does."""
        if not self.distilled:
            return ""
        embedded = "the strength of guidance is embedded beside the time step"
        return embedded if self.embeds_guidance else "it was distilled to need no guidance"

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch latents. Raises BadValueError for a phase, a length or a sample that it does not have."""
        self.demand(workload)
        w, d = replace(workload, sample=None), self.width
        image, text = replace(w, seq_len=self.num_patches), replace(w, seq_len=self.text_tokens)
        table = [self.patches_in(w), *two_linear(w, "time", (FREQUENCIES, d, d))]
        if self.embeds_guidance:
            table += two_linear(w, "guidance", (FREQUENCIES, d, d))
        if self.pooled_width:
            table += two_linear(w, "pooled", (self.pooled_width, d, d))
        if self.norms_text:
            table.append(norm(text, "text", cut="whole", width=self.text_width, bias=False))
        table.append(
            linear(
                text,
                "text",
                "projection",
                "embedding",
                cut="whole",
                label="in",
                d_in=self.text_width,
                d_out=d,
                bias=True,
                input_grad=self.norms_text,
            )
        )
        if self.refiners:
            table += self._refiners(w, text)
        table += self._double(w, image, text)
        if self.singles:
            table += self._single(w, replace(w, seq_len=image.seq_len + text.seq_len))
        table.append(self._scales(w, "out", 2))
        return (*table, *self.patches_out(image))

    def _refiners(self, w: Workload, text: Workload) -> list[Op]:
        """Layers of attention and a feed-forward over the text, with gates of their own.

        Source: Kong et al. 2024, HunyuanVideo (arXiv 2412.03603), section 4.2.2, bidirectional token refiner, as diffusers builds it.
        """
        d, n, part = self.width, self.refiners, "refiner"
        return [
            *two_linear(w, f"{part}.time", (FREQUENCIES, d, d)),
            *two_linear(w, f"{part}.mean", (self.text_width, d, d)),
            self._scales(w, part, 2, n, "gates"),
            norm(text, part, cut="whole", width=d, bias=True, count=2 * n),
            *attention_over(text, f"{part}.attention", d, self.heads, count=n, bias=True),
            *self._feed_forward(text, part, n),
            elementwise(text, part, cut="whole", label="scaling", width=d, count=2 * n),
            elementwise(text, part, "residual", cut="whole", width=d, reads=2, count=2 * n, saved=False),
        ]

    def _scales(self, w: Workload, part: str, num: int, count: int = 1, label: str = "scales") -> Op:
        """The matrix that makes scales, shifts and gates of the time step's vector."""
        d = self.width
        row = linear(w, part, "projection", "mlp", cut="whole", label=label, d_in=d, d_out=num * d, bias=True, rows=w.batch)
        return replace(row, count=count)

    def _double(self, w: Workload, image: Workload, text: Workload) -> list[Op]:
        both, n, written = replace(w, seq_len=image.seq_len + text.seq_len), self.layers, self.layers - self.text_ends
        table = [
            self._scales(w, "layer.image", 6, n - self.duals),
            self._scales(w, "layer.image", 9, self.duals, "dual_scales"),
            self._scales(w, "layer.text", 6, written),
            self._scales(w, "layer.text", 2, n - written, "last_scales"),
        ]
        for stream, here in zip(STREAMS, (image, text), strict=True):
            table += self._projections(here, "layer.attention", n, f"{stream}_")
        table += self._products(both, "layer.attention", n, "image_")
        for stream, here, count in zip(STREAMS, (image, text), (n, written), strict=True):
            unread = int(self.text_unread and stream == "text")
            table += [
                norm(here, f"layer.{stream}", cut="whole", width=self.width, gain=False, bias=False, count=n + count),
                *self._written(here, stream, count - unread),
                *(replace(op, backward_flop=0, saved_bytes=0) for op in self._written(here, stream, unread, "last_")),
                elementwise(here, f"layer.{stream}", cut="whole", label="scaling", width=self.width, count=3 * count + n),
                elementwise(here, f"layer.{stream}", "residual", cut="whole", width=self.width, reads=2, count=2 * count, saved=False),
            ]
        if self.duals:
            table += attention_over(image, "layer.dual_attention", self.width, self.heads, count=self.duals, bias=True)
            table += self._head_norms(image, "layer.dual_attention", self.duals, "")
        return [op for op in table if op.count]

    def _single(self, w: Workload, both: Workload) -> list[Op]:
        d, n = self.width, self.singles
        out = linear(both, "single", "down", "mlp", cut="rows", label="out", d_in=5 * d, d_out=d, bias=True, count=n, recomputed=True)
        return [
            self._scales(w, "single", 3, n),
            norm(both, "single", cut="whole", width=d, gain=False, bias=False, count=n),
            elementwise(both, "single", cut="whole", label="scaling", width=d, count=2 * n),
            *self._projections(both, "single.attention", n, ""),
            *self._products(both, "single.attention", n, ""),
            linear(both, "single", "up", "mlp", cut="columns", d_in=d, d_out=4 * d, bias=True, count=n, recomputed=True),
            elementwise(both, "single", "activation", cut="columns", width=4 * d, count=n),
            replace(out, reads=("single.attention.context", "single.activation")),
            elementwise(both, "single", "residual", cut="whole", width=d, reads=2, count=n, saved=False),
        ]

    def _projections(self, here: Workload, part: str, count: int, stream: str) -> list[Op]:
        """Queries, keys and values of one sequence, and their norms."""
        d = self.width
        table = [
            linear(
                here, part, role, "attention", cut="columns", label=stream + role, d_in=d, d_out=d, bias=True, count=count, recomputed=True
            )
            for role in OPERANDS
        ]
        return table + self._head_norms(here, part, count, stream)

    def _head_norms(self, here: Workload, part: str, count: int, stream: str) -> list[Op]:
        if not self.norms_queries:
            return []
        rows, width = here.num_tokens * self.heads, self.width // self.heads
        return [norm(here, part, cut="whole", label=f"{stream}head_norm", width=width, bias=False, rows=rows, count=2 * count)]

    def _products(self, both: Workload, part: str, count: int, stream: str) -> tuple[Op, ...]:
        width = self.width // self.heads
        return attention_products(
            both,
            part,
            heads=self.heads,
            qk_width=width,
            v_width=width,
            cache_elements_per_token=0,
            cache_heads=self.heads,
            causal=False,
            count=count,
            operands=(f"{stream}query", f"{stream}key", f"{stream}value"),
        )

    def _output(self, here: Workload, part: str, count: int, label: str) -> Op:
        d = self.width
        row = linear(here, part, "output", "attention", cut="rows", label=label, d_in=d, d_out=d, bias=True, count=count, recomputed=True)
        return replace(row, reads=(f"{part}.context",))

    def _written(self, here: Workload, stream: str, count: int, last: str = "") -> list[Op]:
        """What `count` layers do to a sequence behind their attention; `last` tells the rows of a layer of its own apart."""
        return [
            self._output(here, "layer.attention", count, f"{last}{stream}_output"),
            *self._feed_forward(here, f"layer.{stream}", count, last),
        ]

    def _feed_forward(self, here: Workload, part: str, count: int, last: str = "") -> list[Op]:
        d, up, down = self.width, f"{last}up" if last else "", f"{last}down" if last else ""
        return [
            linear(here, part, "up", "mlp", cut="columns", label=up, d_in=d, d_out=4 * d, bias=True, count=count, recomputed=True),
            elementwise(here, part, "activation", cut="columns", label=f"{last}activation", width=4 * d, count=count),
            linear(here, part, "down", "mlp", cut="rows", label=down, d_in=4 * d, d_out=d, bias=True, count=count, recomputed=True),
        ]
