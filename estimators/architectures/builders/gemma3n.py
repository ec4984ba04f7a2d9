"""Gemma 3n: streams that each layer predicts and corrects, a learned residual, embeddings of each layer's own, keys of earlier layers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from estimators.architectures.alternating_updates import AlternatingUpdates
from estimators.architectures.attention import Attention
from estimators.architectures.block import Beside, Norm
from estimators.architectures.builders.common import attention_of, feed_forward_of, with_qk_norm
from estimators.architectures.builders.layers import Parts, layer_kinds, layered, varied_layers
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.layer_inputs import LayerInput, LayerInputs
from estimators.architectures.learned_residual import LearnedResidual
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

POWER_NORM = Norm(written="rms_power")
SLIDING, FULL = "sliding_attention", "full_attention"
SPARSE_LAYERS = 10
"""Layers from the first on whose gates are sparse where nothing is said and there are more of them."""


def gemma3n_text(f: Fields, name: str, source: Source) -> Decoder:
    """Gemma 3n's language part: four layers with a window, then one that sees everything; the last ones read keys of earlier ones."""
    s = sizes(
        f,
        vocab=262400,
        width=2048,
        layers=35,
        heads=8,
        kv_heads=2,
        head_width=256,
        positions=32768,
        ffn_width=16384,
        tied=True,
        activation="gelu_pytorch_tanh",
        names={"activation": ("hidden_activation",), "ffn_width": ()},
    )
    f.divides("num_attention_heads", s.heads, "hidden_size", s.width)
    every = [FULL if i % 5 == 4 else SLIDING for i in varied_layers(f, s)]
    types = layer_kinds(f, ("layer_types",), s.layers, {SLIDING: SLIDING, FULL: FULL}, every)
    first_sharing = s.layers - f.integer("num_kv_shared_layers", default=15, minimum=0)
    if first_sharing < s.layers and (first_sharing < 1 or not {*types} <= {*types[:first_sharing]}):
        sharing = s.layers - first_sharing
        raise f.fail("num_kv_shared_layers", sharing, "a number that leaves a layer of each kind whose keys the others can read")
    plain = replace(
        with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False, form="rms_power"), value_norm=True
    )
    window, rank = f.integer("sliding_window", default=512), f.integer("laurel_rank", default=64)
    table = f.integer("hidden_size_per_layer_input", default=256)
    widths, sparse = _widths(f, s), _sparse(f, s)

    @cache
    def parts(kind: str, shares: bool, width: int, is_sparse: bool) -> Parts:
        attention: Attention = replace(plain, window=window if kind == SLIDING else None, reads_earlier=shares)
        both = Beside(parts=(("attention", attention), ("laurel", LearnedResidual(rank=rank))))
        feed_forward = replace(feed_forward_of(s, width=width, gated=True), sparse=is_sparse)
        return ("both", both), ("mlp", feed_forward), ("layer_input", LayerInput(width=table, activation=s.activation))

    each = [parts(types[i], i >= first_sharing, widths[i], sparse[i]) for i in range(s.layers)]
    model = layered(name, source, s, each, norms=4, norm=POWER_NORM)
    streams = AlternatingUpdates(streams=f.integer("altup_num_inputs", default=4))
    return replace(
        model,
        blocks=tuple(replace(block, unnormed=1, connections=streams) for block in model.blocks),
        layer_inputs=LayerInputs(vocab=f.integer("vocab_size_per_layer_input", default=262144), width=table),
        capped=f.config.get("final_logit_softcapping", 30.0) is not None,
    )


def _widths(f: Fields, s: Sizes) -> tuple[int, ...]:
    """F of each layer: one for all, or a list."""
    stated = f.config.get("intermediate_size")
    if stated is None:
        return f.default("intermediate_size", (s.ffn_width,) * s.layers)
    if not isinstance(stated, list):
        return (f.integer("intermediate_size"),) * s.layers
    widths = f.integers("intermediate_size", minimum_length=1)
    if len(widths) != s.layers:
        raise f.fail("intermediate_size", f"a list of {len(widths)}", f"one width, or one for each of the {s.layers} layers")
    return widths


def _sparse(f: Fields, s: Sizes) -> tuple[bool, ...]:
    """Whether the gate of each layer is sparse."""
    stated = f.config.get("activation_sparsity_pattern")
    if stated is None:
        few = SPARSE_LAYERS if s.layers > SPARSE_LAYERS else 0
        stated = [*f.default("activation_sparsity_pattern", (0.95,) * few + (0.0,) * (s.layers - few))]
    fits = isinstance(stated, list) and len(stated) == s.layers
    if not fits or not all(isinstance(share, (int, float)) and not isinstance(share, bool) and 0 <= share < 1 for share in stated):
        raise f.fail("activation_sparsity_pattern", stated, f"a list of {s.layers} shares from 0 to below 1, one for each layer")
    return tuple(share > 0 for share in stated)
