"""Random configurations of Gemma 3n: windows, shared keys, sparse gates, feed-forwards of several widths, one stream or more."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.drawn_decoders import Config, family, flags, own_heads, windows

SLIDING, FULL = "sliding_attention", "full_attention"


@st.composite
def gemma3n(draw: st.DrawFn) -> Config:
    """Layers that share keys are of kinds that a layer before them has; transformers takes no width that the heads do not divide."""
    optional = {"attention_bias": flags, "laurel_rank": st.integers(1, 9), "hidden_size_per_layer_input": st.sampled_from([4, 12])}
    config = draw(family(own_heads(), {"sliding_window": draw(windows)}, **optional))
    own = draw(st.lists(st.sampled_from([SLIDING, FULL]), min_size=1, max_size=3))
    sharing = draw(st.lists(st.sampled_from(sorted({*own})), max_size=2))
    layers = len(own) + len(sharing)
    config |= {"num_hidden_layers": layers, "layer_types": [*own, *sharing], "num_kv_shared_layers": len(sharing)}
    config |= {"altup_num_inputs": draw(st.integers(1, 4)), "vocab_size_per_layer_input": draw(st.integers(20, 200))}
    widths = draw(st.lists(st.integers(8, 40), min_size=layers, max_size=layers))
    config |= {"intermediate_size": draw(st.sampled_from([widths, widths[0]]))}
    shares = st.lists(st.sampled_from([0.0, 0.95]), min_size=layers, max_size=layers)
    return config | draw(st.fixed_dictionaries({}, optional={"activation_sparsity_pattern": shares}))
