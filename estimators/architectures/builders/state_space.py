"""State-space models and hybrids with attention: Mamba, Mamba 2, Jamba, Bamba, Falcon-H1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.block import RMS_NORM, Beside, Block
from estimators.architectures.builders.common import attention_of, feed_forward_of
from estimators.architectures.builders.experts import experts_of
from estimators.architectures.builders.layers import Parts, indices, layered, varied_layers
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.decoder import Decoder
from estimators.architectures.feed_forward import Experts
from estimators.architectures.mamba2 import Mamba2
from estimators.architectures.part import Part
from estimators.architectures.state_space import Mamba
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields

TRAINED_LENGTH = 2048
"""Tokens per sequence in the training of Mamba and Mamba 2 (both papers, appendix); the state itself has no longest sequence."""


def mamba(f: Fields, name: str, source: Source) -> Decoder:
    """Mamba: layers of one norm and one mixer, without attention and feed-forward."""
    width = f.integer("hidden_size", default=768)
    mixer = Mamba(
        inner=f.integer("expand", default=2) * width,
        state=f.integer("state_size", default=16),
        rank=_rank(f, "time_step_rank", width),
        taps=f.integer("conv_kernel", default=4),
        bias=f.flag("use_bias", False),
        conv_bias=f.flag("use_conv_bias", True),
    )
    return _mixers(f, name, source, mixer, width=width, layers=32, vocab=50280, tied=True)


def falcon_mamba(f: Fields, name: str, source: Source) -> Decoder:
    """Falcon Mamba: Mamba with norms without gains on step sizes, inputs and outputs."""
    model = mamba(f, name, source)
    block = model.blocks[0]
    mixer = block.parts[0][1]
    assert isinstance(mixer, Mamba)
    return replace(model, blocks=(replace(block, parts=(("mixer", replace(mixer, normed="rms_bare")),)),))


def mamba2(f: Fields, name: str, source: Source) -> Decoder:
    """Mamba 2: as Mamba, with heads, and a sequence cut into chunks."""
    width = f.integer("hidden_size", default=4096)
    heads, head_width = f.integer("num_heads", default=128), f.integer("head_dim", default=64)
    inner = f.integer("expand", default=2) * width
    if heads * head_width != inner:
        raise f.fail("num_heads", heads, f"num_heads times head_dim to be expand times hidden_size, which is {inner:,}")
    mixer = Mamba2(
        heads=heads,
        head_width=head_width,
        state=f.integer("state_size", default=128),
        groups=groups_of(f, ("n_groups",), 8, "num_heads", heads),
        taps=f.integer("conv_kernel", default=4),
        chunk=f.integer("chunk_size", default=256),
        bias=f.flag("use_bias", False),
        out_bias=f.flag("use_bias", False),
        conv_bias=f.flag("use_conv_bias", True),
    )
    return _mixers(f, name, source, mixer, width=width, layers=64, vocab=32768, tied=False)


def _mixers(f: Fields, name: str, source: Source, mixer: Mamba | Mamba2, *, width: int, layers: int, vocab: int, tied: bool) -> Decoder:
    layers = f.integer("num_hidden_layers", default=layers)
    return Decoder(
        name=name,
        source=source,
        vocab=f.integer("vocab_size", default=vocab),
        width=width,
        blocks=(Block(count=layers, parts=(("mixer", mixer),), norms=1, norm=RMS_NORM),),
        max_positions=TRAINED_LENGTH,
        tied=f.flag("tie_word_embeddings", tied),
    )


def _rank(f: Fields, key: str, width: int) -> int:
    """Rank of the step sizes' projection: a sixteenth of the width, rounded up, where it is "auto" or not there."""
    return -(-width // 16) if f.config.get(key, "auto") == "auto" else f.integer(key)


def groups_of(f: Fields, keys: tuple[str, ...], default: int, heads_key: str, heads: int) -> int:
    """Groups of heads that share input and output vectors. Raises BadConfigError where they do not divide the heads."""
    groups = f.integer(*keys, default=default)
    f.divides(keys[0], groups, heads_key, heads)
    return groups


def jamba(f: Fields, name: str, source: Source) -> Decoder:
    """Jamba: one layer in eight has attention, the others Mamba; every second one experts. No positions."""
    s = sizes(f, vocab=65536, width=4096, layers=32, heads=32, kv_heads=8, positions=262144, ffn_width=14336)
    mixer = Mamba(
        inner=f.integer("mamba_expand", default=2) * s.width,
        state=f.integer("mamba_d_state", default=16),
        rank=_rank(f, "mamba_dt_rank", s.width),
        taps=f.integer("mamba_d_conv", default=4),
        bias=f.flag("mamba_proj_bias", False),
        conv_bias=f.flag("mamba_conv_bias", True),
        normed="rms",
    )
    attention = attention_of(s, rotary=False)
    dense = feed_forward_of(s, gated=True)
    num, per_token = experts_of(f, num=16, per_token=2)
    experts = Experts(activation=s.activation, num=num, per_token=per_token, width=s.ffn_width) if num > 1 else dense
    attends = _periodic(f, "attn_layer", 8, 4)
    routes = _periodic(f, "expert_layer", 2, 1)

    def parts(i: int) -> Parts:
        mixes: tuple[str, Part] = ("attention", attention) if attends(i) else ("mixer", mixer)
        return mixes, ("mlp", experts if routes(i) else dense)

    return layered(name, source, s, [parts(i) for i in varied_layers(f, s)])


def _periodic(f: Fields, what: str, period: int, offset: int) -> Callable[[int], bool]:
    """Whether layer i is one of every `period`, from `offset` on."""
    period = f.integer(f"{what}_period", default=period)
    offset = f.integer(f"{what}_offset", default=offset, minimum=0)
    if offset >= period:
        raise f.fail(f"{what}_offset", offset, f"less than {what}_period, which is {period}")
    return lambda i: i % period == offset


def bamba(f: Fields, name: str, source: Source) -> Decoder:
    """Bamba: Mamba 2, attention on the layers of attn_layer_indices, a gated feed-forward on all."""
    s = sizes(f, vocab=128000, width=4096, layers=32, heads=32, kv_heads=8, positions=262144, ffn_width=14336)
    mixer, attention = mamba2_beside_attention(f, s, inner=f.integer("mamba_expand", default=2) * s.width, out_bias_key="mamba_proj_bias")
    feed_forward = feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False))
    attends = indices(f, "attn_layer_indices")

    def parts(i: int) -> Parts:
        mixes: tuple[str, Part] = ("attention", attention) if i in attends else ("mixer", mixer)
        return mixes, ("mlp", feed_forward)

    return layered(name, source, s, [parts(i) for i in varied_layers(f, s)])


def falcon_h1(f: Fields, name: str, source: Source) -> Decoder:
    """Falcon-H1: Mamba 2 and attention side by side in every layer, then a gated feed-forward."""
    s = sizes(f, vocab=128000, width=4096, layers=32, heads=32, kv_heads=8, positions=8192, ffn_width=14336)
    stated = f.config.get("mamba_d_ssm", 1024)
    inner = f.integer("mamba_expand", default=2) * s.width if stated is None else f.integer("mamba_d_ssm", default=1024)
    mixer, attention = mamba2_beside_attention(f, s, inner=inner, out_bias_key="projectors_bias", normed=f.flag("mamba_rms_norm", False))
    both = Beside(parts=(("mixer", replace(mixer, scaled=True)), ("attention", attention)))
    feed_forward = feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False))
    return layered(name, source, s, [(("both", both), ("mlp", feed_forward))] * len(varied_layers(f, s)))


def mamba2_beside_attention(f: Fields, s: Sizes, *, inner: int, out_bias_key: str, normed: bool = True) -> tuple[Mamba2, Attention]:
    """The mixer and the attention of a hybrid; the mixer's fields are called mamba_*."""
    heads = f.integer("mamba_n_heads", default=128)
    f.divides("mamba_n_heads", heads, "the mixer's width", inner)
    head_width = inner // heads
    if f.config.get("mamba_d_head", "auto") != "auto" and f.integer("mamba_d_head") != head_width:
        raise f.fail("mamba_d_head", f.config["mamba_d_head"], f"{head_width}: {inner:,} channels of {heads} mamba_n_heads")
    mixer = Mamba2(
        heads=heads,
        head_width=head_width,
        state=f.integer("mamba_d_state", default=256),
        groups=groups_of(f, ("mamba_n_groups",), 1, "mamba_n_heads", heads),
        taps=f.integer("mamba_d_conv", default=4),
        chunk=f.integer("mamba_chunk_size", default=256),
        bias=f.flag("mamba_proj_bias", False),
        conv_bias=f.flag("mamba_conv_bias", True),
        out_bias=f.flag(out_bias_key, False),
        normed=normed,
    )
    return mixer, attention_of(s, bias=f.flag("attention_bias", False))
