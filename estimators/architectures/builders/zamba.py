"""Zamba 2: layers of Mamba 2, before some of which a transformer runs whose weights those layers share."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from estimators.architectures.builders.common import attention_of, feed_forward_of
from estimators.architectures.builders.layers import Parts, layer_kinds, layered
from estimators.architectures.builders.sizes import sizes
from estimators.architectures.builders.state_space import groups_of
from estimators.architectures.decoder import Decoder
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.shared_transformer import SharedTransformer
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

SCAN, HYBRID = "linear_attention", "hybrid"
WORDS = {SCAN: SCAN, "mamba": SCAN, HYBRID: HYBRID}
LONG_CONTEXT = 16384
"""Tokens with `use_long_context`."""
DEFAULT_HYBRIDS = (6, 12, 18, 24, 30, 36, 42, 47, 51)


def zamba2(f: Fields, name: str, source: Source) -> Decoder:
    """Zamba 2: every layer a mixer; `num_mem_blocks` transformers in turn before those that are hybrid."""
    s = sizes(
        f,
        vocab=32000,
        width=2560,
        layers=54,
        heads=32,
        positions=4096,
        tied=True,
        activation="gelu",
        head_key="",
    )
    if f.flag("use_long_context", False):
        s = replace(s, positions=LONG_CONTEXT)
    f.divides("num_attention_heads", s.heads, "twice hidden_size", 2 * s.width)
    bias = f.flag("add_bias_linear", False)
    inner, heads = f.integer("mamba_expand", default=2) * s.width, f.integer("n_mamba_heads", default=8)
    f.divides("n_mamba_heads", heads, "the mixer's width", inner)
    mixer = Mamba2(
        heads=heads,
        head_width=inner // heads,
        state=f.integer("mamba_d_state", default=64),
        groups=groups_of(f, ("mamba_ngroups",), 1, "n_mamba_heads", heads),
        taps=f.integer("mamba_d_conv", default=4),
        chunk=f.integer("chunk_size", default=256),
        bias=bias,
        out_bias=bias,
    )
    attention = attention_of(replace(s, head_width=2 * s.width // s.heads), rotary=f.flag("use_mem_rope", False))
    adapts = f.flag("use_shared_attention_adapter", False)
    if adapts and s.kv_heads != s.heads:
        raise f.fail("num_key_value_heads", s.kv_heads, f"{s.heads}, as num_attention_heads: adapters are as wide as the queries")
    shared = SharedTransformer(
        attention=replace(attention, input_width=2 * s.width),
        feed_forward=feed_forward_of(s, gated=True, fused=True, bias=bias),
        rank=f.integer("adapter_rank", default=128),
        adapts_attention=adapts,
    )
    usual = [HYBRID if i in DEFAULT_HYBRIDS else SCAN for i in range(54)]
    kinds = layer_kinds(f, ("layers_block_type", "layer_types"), s.layers, WORDS, usual)
    if len(kinds) != s.layers:
        raise f.fail("num_hidden_layers", s.layers, f"{len(kinds)} where layers_block_type says nothing, or a word for each in that")
    sets, uses = f.integer("num_mem_blocks", default=1), kinds.count(HYBRID)

    @cache
    def parts(owned: bool, spare_sets: int) -> Parts:
        return ("shared", replace(shared, owned=owned, spare_sets=spare_sets)), ("mixer", mixer)

    def of_use(use: int) -> Parts:
        """With a tied head layers share weights; else transformers ties nothing, and each has all that it would share."""
        return parts(use < sets, 0) if s.tied else parts(True, len(range(use % sets, uses, sets)) - 1)

    each = [of_use(kinds[:i].count(HYBRID)) if kind == HYBRID else (("mixer", mixer),) for i, kind in enumerate(kinds)]
    return layered(name, source, s, each, norms=1)
