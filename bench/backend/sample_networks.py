"""Networks of images, audio, latents, and images beside a text: how each is built, what it is fed, and what its loss is.

Their classes are of transformers or of diffusers. What they are fed has the right shapes and kinds and no meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from bench.backend import model_classes
from bench.backend.image_text_inputs import image_text_inputs
from bench.backend.models import hf_config
from estimators.architectures.denoisers import DiT
from estimators.architectures.unets import UNet
from estimators.architectures.vision_language import VisionLanguage
from estimators.errors import NoOpTableError
from estimators.extras import needed_by
from estimators.spec import Model, Workload

Inputs = Mapping[str, torch.Tensor]

TIME_STEPS = 1000
"""Of the noise that is added in training, of DDPM (Ho et al. 2020, arXiv 2006.11239, section 4)."""

NOISE = "noise"
"""Name of the input that the loss of a denoiser is made with, and its forward pass is not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleNetwork:
    """One network and its batch.

    Attributes:
        build: makes it, with whatever initial weights its class draws, from the name of an attention and the dtype of the weights.
        shapes: arguments of a training step's loss; those on meta are to be drawn, others are what they are.
        bounds: of whole numbers that are drawn, by name: each is below.
        of_loss: of `shapes`, what only the loss takes.
        loss: of the network, or of what wraps it, on such arguments.
        said: what the loss is, in words.
    """

    build: Callable[[str, torch.dtype], nn.Module]
    shapes: Inputs
    loss: Callable[[Any, Inputs], torch.Tensor]
    said: str
    bounds: Mapping[str, int] = field(default_factory=dict)
    of_loss: tuple[str, ...] = ()

    def drawn(self, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
        """Arguments of the loss on the CPU: normal values in the dtype, whole numbers below their bounds."""
        generator = torch.Generator().manual_seed(seed)
        return {name: self._drawn(name, tensor, dtype, generator) for name, tensor in self.shapes.items()}

    def _drawn(self, name: str, tensor: torch.Tensor, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
        if not tensor.is_meta:
            return tensor
        if tensor.is_floating_point():
            return torch.randn(tensor.shape, generator=generator).to(dtype)
        return torch.randint(0, self.bounds.get(name, 1), tensor.shape, generator=generator)

    def forward(self, network: Any, given: Inputs) -> Any:
        """A forward pass alone, without what the loss is made with."""
        return network(**{name: tensor for name, tensor in given.items() if name not in self.of_loss})


def network_of(config: Mapping[str, Any], model: Model, workload: Workload) -> SampleNetwork:
    """The network of a configuration on the batch of a workload.

    Args:
        model: its op table, on the samples that are asked about.

    Raises:
        BadConfigError: its library cannot build it.
        NoOpTableError: a kind of which nothing is known but its op table.
        MissingPackageError: its library is not installed.
    """
    if isinstance(model, VisionLanguage):
        return _vision_language(config, model, workload)
    if isinstance(model, DiT) or (isinstance(model, UNet) and not model.added):
        return _denoiser(config, model, workload)
    if config.get("model_type") in model_classes.KINDS:
        return _by_kind(config, workload)
    raise NoOpTableError(
        f"{model.name}: what {model.runs or config.get('model_type')} is fed is not known here, so it is not run: show and estimate take it"
    )


def _by_kind(config: Mapping[str, Any], workload: Workload) -> SampleNetwork:
    meta = model_classes.meta_model(config)
    shapes = dict(model_classes.step_inputs(meta, workload))
    shapes = {name: tensor for name, tensor in shapes.items() if tensor is not None}
    labels, bound = _labels(meta, shapes)
    vocab = getattr(meta.config.get_text_config(), "vocab_size", 1)
    return SampleNetwork(
        build=lambda attn, dtype: model_classes.model_of(config, attn=attn, dtype=dtype),
        shapes={**shapes, **labels},
        bounds={"input_ids": vocab, "decoder_input_ids": vocab, "labels": bound},
        of_loss=tuple(labels),
        loss=_loss_named if labels else _mean_squares,
        said="cross-entropy of made-up labels" if labels else "the mean square of what it returns",
    )


def _labels(model: Any, shapes: Inputs) -> tuple[dict[str, torch.Tensor], int]:
    """Labels of a class that has a loss of its own, and how many there are to choose from: of images, and of a text that is written."""
    name = type(model).__name__
    if name.endswith("ForImageClassification"):
        return {"labels": torch.empty(len(shapes["pixel_values"]), dtype=torch.long, device="meta")}, model.config.num_labels
    if "decoder_input_ids" in shapes and model.get_output_embeddings() is not None:
        return {"labels": torch.empty_like(shapes["decoder_input_ids"])}, model.config.vocab_size
    return {}, 1


BOXES_BEFORE = "enc_outputs_coord_logits"
"""Boxes of all positions of an image before the sigmoid that a detector's loss takes of them; at its edge the largest numbers there are."""


def _loss_named(network: Any, given: Inputs) -> torch.Tensor:
    loss: torch.Tensor = network(**given).loss
    return loss


def _mean_squares(network: Any, given: Inputs) -> torch.Tensor:
    returned = dict(network(**given).items())
    if BOXES_BEFORE in returned:
        returned[BOXES_BEFORE] = returned[BOXES_BEFORE].sigmoid()
    outputs = model_classes.differentiable(returned)
    return torch.stack([output.float().square().mean() for output in outputs]).sum()


def _vision_language(config: Mapping[str, Any], model: VisionLanguage, workload: Workload) -> SampleNetwork:
    return SampleNetwork(
        build=partial(_whole, config),
        shapes=image_text_inputs(hf_config(config), model, workload.batch, torch.Generator().manual_seed(0)),
        of_loss=("labels",),
        loss=_loss_named,
        said="cross-entropy of the next word of the text",
    )


def _whole(config: Mapping[str, Any], attn: str, dtype: torch.dtype) -> nn.Module:
    from transformers import AutoModelForImageTextToText

    network: nn.Module = AutoModelForImageTextToText.from_config(hf_config(config), attn_implementation=attn, dtype=dtype)
    if config.get("model_type") == "llama4":  # transformers 5.24 reads image_outputs of what its language part returns, which has none
        language: Any = network.language_model
        language.register_forward_hook(lambda module, given, output: setattr(output, "image_outputs", None))
    return network


def _denoiser(config: Mapping[str, Any], model: DiT | UNet, workload: Workload) -> SampleNetwork:
    with needed_by(f"running {model.name}"):
        import diffusers
        from diffusers.models.attention_processor import Attention, AttnProcessor

    batch, (rows, columns) = workload.batch, model.latent
    on_meta = partial(torch.empty, device="meta")
    latent, steps = on_meta(batch, model.latent_channels, rows, columns), on_meta(batch, dtype=torch.long)
    kind, fields = getattr(diffusers, model.runs), {name: value for name, value in config.items() if not name.startswith("_")}
    shapes: dict[str, torch.Tensor] = {"timestep": steps, NOISE: latent}
    if isinstance(model, DiT):
        shapes |= {"hidden_states": latent, "class_labels": steps}
    else:
        shapes |= {"sample": latent, "encoder_hidden_states": on_meta(batch, model.text_tokens, model.text_width)}

    def build(attn: str, dtype: torch.dtype) -> nn.Module:
        network: nn.Module = kind(**fields)
        for part in network.modules() if attn == "eager" else ():
            if isinstance(part, Attention):
                part.set_processor(AttnProcessor())
        return network if dtype is torch.float32 else network.to(dtype)

    return SampleNetwork(
        build=build,
        shapes=shapes,
        bounds={"timestep": TIME_STEPS, "class_labels": model.classes if isinstance(model, DiT) else 1},
        of_loss=(NOISE,),
        loss=_loss_of_noise,
        said="mean square error of the noise, without that of its variance",
    )


def _loss_of_noise(network: Any, given: Inputs) -> torch.Tensor:
    noise = given[NOISE]
    made = network(**{name: tensor for name, tensor in given.items() if name != NOISE}).sample
    return nn.functional.mse_loss(made[:, : noise.shape[1]].float(), noise.float())
