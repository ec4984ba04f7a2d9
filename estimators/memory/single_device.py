"""What one device keeps for backward in a training step by transformers and PyTorch, without a layout: for single estimates."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.architectures.adapters import FineTuned
from estimators.architectures.convolution import ConvolutionalNetwork
from estimators.architectures.decoder import Decoder
from estimators.architectures.detection import Finder
from estimators.architectures.encoder import Encoder, Projection
from estimators.architectures.encoder_decoder import EncoderDecoder
from estimators.architectures.pyramid import Pyramid
from estimators.architectures.vision import DualEncoder, VisionTransformer
from estimators.architectures.waves import WaveEncoder
from estimators.frozen import replace
from estimators.memory.autograd.maps import maps_kept, pyramid_kept
from estimators.memory.autograd.tape import Adapted
from estimators.memory.autograd.towers import heads_kept, tower_memory
from estimators.memory.kernels import AUTOCAST, EAGER, Kernels
from estimators.memory.layer_memory import model_memory_of
from estimators.memory.saved import SavedActivations
from estimators.samples import Audio, Image
from estimators.spec import Model, Workload
from estimators.units import DTYPE_BYTES

LOGITS = "logits_and_loss"
"""Name of the part that a head over a vocabulary and its loss keep."""


def kept_by_torch(model: Model, workload: Workload, kernels: Kernels | None = None) -> dict[str, int] | None:
    """Activations, and logits and loss, in bytes; None for fully connected networks, and for decoders that are trained in part.

    Attention by scaled_dot_product_attention, fp32 weights, compute in the workload's dtype under torch.autocast; no dropout.
    With full recomputation every layer's input is kept, and one layer is run again. What a fine-tuning of a decoder keeps is in
    `tuning.activations`; of an encoder-decoder frozen weights are held in the dtype of compute, and so is what layers hand on.

    Args:
        kernels: those of another software, or of another device; EAGER or AUTOCAST unless given.

    Phi-2 on 1,024 tokens in fp32: 12 bytes per logit, the inputs of the last norm and of the head, 16 bytes per token of
    that norm's statistics and the target.

    >>> from estimators.validation.model import shipped_model
    >>> kept = kept_by_torch(shipped_model("phi-2"), Workload(phase="train", seq_len=1024, dtype="fp32"))
    >>> kept["logits_and_loss"] == 1024 * (12 * 51200 + 2 * 4 * 2560 + 16)
    True
    """
    kernels = kernels or (EAGER if workload.dtype_bytes >= 4 else AUTOCAST)
    size = int(max(2, DTYPE_BYTES.get(workload.dtype, 2)))
    again = workload.recompute == "full"
    if isinstance(model, Decoder):
        return _of_decoder(model, workload, kernels)
    if isinstance(model, FineTuned) and isinstance(model.base, EncoderDecoder):
        adapted = Adapted(rank=model.rank, targets=model.targets, tokens=workload.seq_len)
        return _of_encoder_decoder(model.base, workload, EAGER, size, adapted)
    if isinstance(model, WaveEncoder) and isinstance(workload.sample, Audio):
        model = model.sized(workload.sample)
    if isinstance(model, Encoder | VisionTransformer | WaveEncoder):
        tokens = workload.seq_len if isinstance(model, Encoder) else model.tokens
        tower = tower_memory(model.tower, tokens, kernels, size)
        return _parts(
            workload.batch,
            tower.kept(recomputed=again),
            heads_kept(model.heads, tower.output, kernels, size),
            _logits(model.heads, tokens),
            kernels,
        )
    if isinstance(model, DualEncoder):
        towers = (model.image, model.image_tokens), (model.text, model.text_tokens)
        image, text = (tower_memory(tower, tokens, kernels, size).kept(recomputed=again) for tower, tokens in towers)
        return _parts(workload.batch, image + text, SavedActivations(), 0, kernels)
    if isinstance(model, ConvolutionalNetwork):
        return _parts(workload.batch, maps_kept(model.layers, kernels, size), SavedActivations(), 0, kernels)
    if isinstance(model, Finder):
        return _of_finder(model, workload, kernels, size)
    if isinstance(model, Pyramid):
        return _parts(workload.batch, pyramid_kept(model, kernels, size, recomputed=again), SavedActivations(), 0, kernels)
    if isinstance(model, EncoderDecoder):
        return _of_encoder_decoder(model, workload, kernels, size)
    return None


def _of_finder(model: Finder, workload: Workload, kernels: Kernels, size: int) -> dict[str, int]:
    """The trained filters of the backbone as torch keeps them, whose results and inputs are the same maps; the rest by its rows."""
    if isinstance(workload.sample, Image) and workload.sample != model.sample:
        model, workload = model.sized(workload.sample), replace(workload, sample=None)
    maps = model.backbone.maps(model.image)
    filters = maps.filters if model.trained_stages is None else sum(maps.stages[len(maps.stages) - model.trained_stages :], ())
    kept = maps_kept(filters, kernels, size)
    by_rows, of_backbone = (
        sum(op.count * op.saved_bytes for op in ops)
        for ops in (model.ops(workload), maps.ops(workload, "backbone", trained=model.trained_stages))
    )
    return {"activations": round(workload.batch * kept.per_sequence + kept.once + by_rows - of_backbone)}


def _of_decoder(model: Decoder, workload: Workload, kernels: Kernels) -> dict[str, int]:
    model_memory = model_memory_of(model, workload.seq_len, kernels, workload.dtype)
    first, rest = (layer.kept.per_sequence for layer in (model_memory.first, model_memory.rest))
    whole = model_memory.num_first * first + (model.layers - model_memory.num_first) * rest
    if workload.recompute == "full":
        whole = model.layers * workload.seq_len * model.streams * model.width * model_memory.stream_bytes + max(first, rest)
    logit_bytes = kernels.logit_bytes + (model_memory.element_bytes if model.capped else 0)
    logits = workload.seq_len * model.vocab * logit_bytes + model_memory.last_end.per_sequence
    return {
        "activations": round(workload.batch * (whole + model_memory.first_end.outer) + model_memory.shared_bytes),
        LOGITS: round(workload.batch * logits),
    }


def _of_encoder_decoder(
    model: EncoderDecoder, workload: Workload, kernels: Kernels, size: int, adapted: Adapted | None = None
) -> dict[str, int]:
    """The decoder's cross-attention reads the encoder's output, of which each layer makes copies of its own under autocast."""
    workload, sources = model.in_windows(workload), model.source_tokens(workload)
    again = workload.recompute == "full"
    of_source = adapted and replace(adapted, tokens=sources)
    encoder = tower_memory(model.encoder, sources, kernels, size, adapted=of_source)
    decoder = tower_memory(model.decoder, workload.seq_len, kernels, size, source_tokens=sources, adapted=adapted)
    kept = encoder.kept(recomputed=again) + decoder.kept(recomputed=again)
    if not kernels.autocast:
        kept += SavedActivations(outer=float(sources * model.encoder.width * size))
    head = Projection(name="head", d_in=model.decoder.width, d_out=model.vocab, cut="vocabulary")
    heads = (head,) if model.vocab else ()
    return _parts(workload.batch, kept, heads_kept(heads, decoder.output, kernels, size), workload.seq_len * model.vocab, kernels)


def _logits(heads: Sequence[Projection], tokens: int) -> int:
    """Logits of one sequence over vocabularies."""
    return sum(tokens * head.d_out for head in heads if head.cut == "vocabulary")


def _parts(batch: int, layers: SavedActivations, heads: SavedActivations, logits: int, kernels: Kernels) -> dict[str, int]:
    """What is kept by name: heads are a part of their own where they make logits of a vocabulary."""
    of_heads = batch * heads.per_sequence + heads.once
    of_layers = batch * layers.per_sequence + layers.once
    if not logits:
        return {"activations": round(of_layers + of_heads)}
    return {"activations": round(of_layers), LOGITS: round(batch * logits * kernels.logit_bytes + of_heads)}
