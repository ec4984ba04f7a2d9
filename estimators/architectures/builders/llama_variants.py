"""Later children of Llama, each with a twist of its own: SmolLM3, InternLM3, Seed-OSS, ERNIE 4.5, EXAONE, Arcee, CWM, Helium, Hunyuan,
Llama 3.2 Vision's language part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from estimators.architectures.attention import Attention
from estimators.architectures.builders.common import attention_of, decoder, feed_forward_of, with_qk_norm
from estimators.architectures.builders.layers import indices, layered, varied_layers, windowed
from estimators.architectures.builders.llama import WIDE_NORM
from estimators.architectures.builders.sizes import Sizes, sizes
from estimators.architectures.builders.windows import window_of, windows_of
from estimators.architectures.decoder import Decoder
from estimators.architectures.part import Part
from estimators.architectures.vision import Scaled
from estimators.frozen import replace
from estimators.spec import Source

if TYPE_CHECKING:
    from estimators.architectures.fields import Fields


def smollm3(f: Fields, name: str, source: Source) -> Decoder:
    """SmolLM3: every fourth layer without rotary positions; a window, where one is used, on those."""
    s = sizes(f, vocab=128256, width=2048, layers=36, heads=16, kv_heads=4, positions=32768, ffn_width=11008, tied=True)
    every = f.integer("no_rope_layer_interval", default=4)
    rotates = f.config.get("no_rope_layers")
    if rotates is not None and not (isinstance(rotates, list) and len(rotates) == s.layers and all(r in (0, 1) for r in rotates)):
        raise f.fail("no_rope_layers", rotates, f"a list of {s.layers} zeros and ones, 0 for a layer without rotary positions")
    window = window_of(f, None) if f.flag("use_sliding_window", False) else None

    def has_rope(i: int) -> bool:
        return bool(rotates[i]) if rotates is not None else (i + 1) % every != 0

    windows = windows_of(f, s.layers, window, lambda i: window is not None and not has_rope(i))
    bias = f.flag("attention_bias", False)
    attentions = [attention_of(s, bias=bias, rotary=has_rope(i), window=each) for i, each in enumerate(windows)]
    feed_forward = feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False))
    return decoder(name, source, s, attentions, feed_forward)


def internlm3(f: Fields, name: str, source: Source) -> Decoder:
    """InternLM3: Llama under other names for its biases, which are all there or none."""
    s = sizes(f, vocab=128512, width=4096, layers=48, heads=32, kv_heads=2, head_width=128, positions=32768, ffn_width=10240)
    bias = f.flag("qkv_bias", f.flag("attention_bias", False))
    if bias != f.flag("bias", f.flag("mlp_bias", False)):
        raise f.fail("qkv_bias", bias, "the same as bias: transformers' InternLM3 has all of them or none")
    return decoder(name, source, s, attention_of(s, bias=bias), feed_forward_of(s, gated=True, bias=bias))


def seed_oss(f: Fields, name: str, source: Source) -> Decoder:
    """Seed-OSS: Llama with biases on query, key and value, and heads wider together than the model."""
    s = sizes(f, vocab=155136, width=4096, layers=64, heads=80, kv_heads=8, head_width=128, positions=524288, ffn_width=27648)
    attention = attention_of(s, bias=f.flag("attention_bias", True), out_bias=f.flag("attention_out_bias", False))
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False)))


def ernie4_5(f: Fields, name: str, source: Source) -> Decoder:
    """ERNIE 4.5 without experts: Llama with one switch for all biases."""
    s = sizes(f, vocab=103424, width=1024, layers=18, heads=16, kv_heads=2, head_width=128, positions=131072, ffn_width=3072, tied=True)
    bias = f.flag("use_bias", False)
    attention = replace(attention_of(s, bias=bias), angle_elements=2 * s.head_width, wide_angles=True)
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True, bias=bias))


def exaone4(f: Fields, name: str, source: Source) -> Decoder:
    """EXAONE 4: norms behind attention and feed-forward and on queries and keys; in the 32B three layers of four with a window."""
    s = sizes(f, vocab=102400, width=4096, layers=32, heads=32, kv_heads=32, positions=2048, ffn_width=16384)
    return decoder(name, source, s, exaone4_attention(f, s), feed_forward_of(s, gated=True), prenorm=False)


def exaone4_attention(f: Fields, s: Sizes) -> list[Attention]:
    """Of each layer: norms on queries and keys, a window and positions, or neither of these two on every fourth."""
    attention = with_qk_norm(attention_of(s), over_all_heads=False)
    window = window_of(f, 4096)
    every = f.integer("sliding_window_pattern", default=4) if window is not None and f.config.get("layer_types") is None else 1
    windows = windows_of(f, s.layers, window, lambda i: (i + 1) % every != 0)
    layer = {each: replace(attention, rotary=window is None or each is not None, window=each) for each in set(windows)}
    return [layer[each] for each in windows]


def arcee(f: Fields, name: str, source: Source) -> Decoder:
    """AFM: Llama with a squared ReLU between two matrices in place of the gated feed-forward."""
    s = sizes(f, vocab=32000, width=2560, layers=32, heads=32, positions=4096, ffn_width=18432, activation="relu2")
    feed_forward = feed_forward_of(s, bias=f.flag("mlp_bias", False))
    return decoder(name, source, s, attention_of(s, bias=f.flag("attention_bias", False)), feed_forward)


def exaone(f: Fields, name: str, source: Source) -> Decoder:
    """EXAONE 3 and 3.5: Llama; its first files call layers and activation otherwise."""
    names = {"layers": ("num_hidden_layers", "num_layers"), "activation": ("hidden_act", "activation_function")}
    s = sizes(f, vocab=102400, width=4096, layers=32, heads=32, kv_heads=8, positions=4096, ffn_width=14336, names=names)
    feed_forward = feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False))
    return decoder(name, source, s, attention_of(s, bias=f.flag("attention_bias", False)), feed_forward)


def iquestcoder(f: Fields, name: str, source: Source) -> Decoder:
    """IQuest-Coder: Llama."""
    s = sizes(f, vocab=76800, width=5120, layers=80, heads=40, kv_heads=8, head_width=128, positions=131072, ffn_width=27648)
    feed_forward = feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False))
    return decoder(name, source, s, attention_of(s, bias=f.flag("attention_bias", False)), feed_forward)


def helium(f: Fields, name: str, source: Source) -> Decoder:
    """Helium: Llama with positions that turn neighbours; no switch of its own gives the output matrix a bias."""
    s = sizes(f, vocab=48000, width=2560, layers=24, heads=20, kv_heads=20, head_width=128, positions=4096, ffn_width=7040)
    if s.heads * s.head_width != s.width:
        raise f.fail("head_dim", s.head_width, f"hidden_size over num_attention_heads, {s.width} / {s.heads}: its output matrix is square")
    attention = attention_of(s, bias=f.flag("attention_bias", False), out_bias=False)
    feed_forward = feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False))
    return decoder(name, source, s, replace(attention, angle_elements=2 * s.head_width), feed_forward, norm=WIDE_NORM)


def cwm(f: Fields, name: str, source: Source) -> Decoder:
    """CWM: Llama with a sliding window on all layers but every fourth, from the first on."""
    s = sizes(f, vocab=128256, width=6144, layers=64, heads=48, kv_heads=8, head_width=128, positions=131072, ffn_width=21504)
    windows = windows_of(f, s.layers, window_of(f, 8192), lambda i: i % 4 != 0)
    return decoder(name, source, s, windowed(attention_of(s), windows), feed_forward_of(s, gated=True, bias=f.flag("mlp_bias", False)))


def hunyuan_v1_dense(f: Fields, name: str, source: Source) -> Decoder:
    """Hunyuan 0.5B to 7B: Llama with norms on queries and keys behind their positions."""
    s = sizes(f, vocab=290943, width=4096, layers=32, heads=32, positions=2048, ffn_width=11008)
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False, first=False)
    return decoder(name, source, s, attention, feed_forward_of(s, gated=True))


def apertus(f: Fields, name: str, source: Source) -> Decoder:
    """Apertus: norms on queries and keys, two matrices with an xIELU between, whose two bends are learned in each layer."""
    s = sizes(f, vocab=131072, width=4096, layers=32, heads=32, positions=65536, ffn_width=14336, activation="xielu")
    attention = with_qk_norm(attention_of(s, bias=f.flag("attention_bias", False)), over_all_heads=False)
    activation = "xielu_in_weights" if s.activation == "xielu" else s.activation
    return decoder(name, source, s, attention, replace(feed_forward_of(s), activation=activation))


def bitnet(f: Fields, name: str, source: Source) -> Decoder:
    """BitNet b1.58: a norm before the output matrix and one before the last of the feed-forward; weights of three values."""
    s = sizes(f, vocab=128256, width=2560, layers=30, heads=20, kv_heads=5, positions=2048, ffn_width=6912, activation="relu2")
    attention = replace(attention_of(s, bias=f.flag("attention_bias", False)), context_norm=True)
    return decoder(name, source, s, attention, replace(feed_forward_of(s, gated=True), inner_norm=True))


CROSS_LAYERS = (3, 8, 13, 18, 23, 28, 33, 38)
"""Of Llama 3.2 Vision 11B."""

SPARE_ROWS = 8
"""Of the table of tokens: of the token that stands for an image, and seven more.

Source: transformers 5.24, MllamaTextModel.
"""


def mllama_text(f: Fields, name: str, source: Source) -> Decoder:
    """Llama 3.2 Vision's language part: Llama 3.1, between whose layers others attend to features of images, behind learned gates.

    Without images those do nothing. The head is never tied, whatever the configuration says, as in transformers.
    """
    s = sizes(f, vocab=128256, width=4096, layers=40, heads=32, kv_heads=8, positions=131072, ffn_width=14336, head_key="")
    crossing = frozenset(f.default("cross_attention_layers", CROSS_LAYERS))
    if f.config.get("cross_attention_layers") is not None:
        crossing = indices(f, "cross_attention_layers")
    feed_forward = feed_forward_of(s, gated=True)
    own: tuple[tuple[str, Part], ...] = (("attention", attention_of(s)), ("mlp", feed_forward))
    across = replace(with_qk_norm(attention_of(s, rotary=False), over_all_heads=False), cross=True, causal=False)
    gated = tuple((part, Scaled(part=each, one_for_all=True)) for part, each in (("cross_attention", across), ("mlp", feed_forward)))
    model = layered(name, source, replace(s, tied=False), [gated if i in crossing else own for i in varied_layers(f, s)])
    blocks = tuple(replace(block, of_source=block.parts == gated) for block in model.blocks)
    return replace(model, blocks=blocks, spare_rows=SPARE_ROWS)
