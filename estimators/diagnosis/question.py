"""What is asked: one run's figures, and its configuration with every name read. What nobody said is None, and nothing is assumed for it."""

from __future__ import annotations

from typing import Any

from estimators.architectures.decoder import Decoder
from estimators.cost.layout import Layout
from estimators.cost.software import stacks
from estimators.diagnosis.observed import Figure, Observed, Setting
from estimators.errors import RequestError
from estimators.facts.frameworks import Framework, framework_of
from estimators.facts.tool_conventions import ToolConvention, tools
from estimators.frozen import frozen
from estimators.method import FULL, TrainingMethod
from estimators.spec import Hardware, Model

USUAL_RANK = 8
"""Of a LoRA whose rank nobody said; peft's own default, of which a step's time hardly depends."""

SIXTEEN = ("bf16", "fp16")


@frozen
class DiagnosisQuestion:
    """One run.

    Attributes:
        observed: its figures, setting, and what a reader could not get.
        model: as checkpoints have it; None where none is known: then what can be said without one is said.
        hardware: None where none is known: no device is assumed.
        said: what names were taken for.
    """

    observed: Observed
    model: Model | None = None
    hardware: Hardware | None = None
    said: tuple[str, ...] = ()

    @property
    def setting(self) -> Setting:
        """What is known of the configuration."""
        return self.observed.setting

    @property
    def main(self) -> Figure | None:
        """The figure that is asked about."""
        return self.observed.figures[0] if self.observed.figures else None

    @property
    def num_devices(self) -> int | None:
        """Of the job: as said, or as the degrees multiply to."""
        return self.setting.num_devices or self.product_of_degrees

    @property
    def product_of_degrees(self) -> int | None:
        """tp x pp x cp x dp where dp is given; None else."""
        s = self.setting
        return None if s.dp is None else s.dp * self.ranks_of_a_replica

    @property
    def ranks_of_a_replica(self) -> int:
        """Devices that work on the same sequences: tp x pp x cp."""
        s = self.setting
        return (s.tp or 1) * (s.pp or 1) * (s.cp or 1)

    @property
    def replicas(self) -> int | None:
        """Ranks that each have sequences of their own; None where the number of devices is not known."""
        if self.setting.dp is not None:
            return self.setting.dp
        number = self.setting.num_devices
        return None if number is None or number % self.ranks_of_a_replica else number // self.ranks_of_a_replica

    @property
    def sequences_per_step(self) -> int | None:
        """Of the job: the global batch, or micro-batch x accumulation x replicas; None where one of these is not known."""
        s = self.setting
        if s.global_batch is not None:
            return s.global_batch
        if s.micro_batch is None or s.accumulation is None or self.replicas is None:
            return None
        return s.micro_batch * s.accumulation * self.replicas

    @property
    def accumulation(self) -> int | None:
        """Passes of one step, as said or as the batches say."""
        s = self.setting
        if s.accumulation is None and s.global_batch and s.micro_batch and self.replicas:
            passes = s.global_batch / (s.micro_batch * self.replicas)
            return int(passes) if passes == int(passes) and passes >= 1 else None
        return s.accumulation

    @property
    def item_tokens(self) -> int | None:
        """Tokens of one sequence, 1 of a model of samples; None where nobody said how long sequences are."""
        if self.counts_samples:
            return 1
        return self.setting.seq_len

    @property
    def counts_samples(self) -> bool:
        """Whether an item is a sample, and not a token."""
        return self.model.item == "sample" if self.model is not None else self.setting.forward_flop_per_sample is not None

    @property
    def items_per_step(self) -> int | None:
        """Tokens of one step of the job, padding included; samples of a model of samples."""
        sequences, tokens = self.sequences_per_step, self.item_tokens
        return None if sequences is None or tokens is None else sequences * tokens

    @property
    def method(self) -> TrainingMethod:
        """How the model is trained; all of it unless said otherwise."""
        if self.setting.method == "lora":
            return TrainingMethod(rank=USUAL_RANK)
        if self.setting.method == "qlora":
            return TrainingMethod(rank=USUAL_RANK, base_format="nf4")
        if self.setting.method == "freeze" and isinstance(self.model, Decoder):
            return TrainingMethod(frozen_layers=max(0, self.model.layers - FREEZE_TRAINS))
        return FULL

    @property
    def dtype(self) -> str:
        """Of the products: as said, else the 16-bit one that the device multiplies fastest in, else fp32."""
        said = self.setting.dtype
        if said:
            return said
        have = self.hardware.peak_flop_per_s if self.hardware is not None else {"bf16": 1.0}
        return next((name for name in SIXTEEN if name in have), "fp32")

    @property
    def peak_flop_per_s(self) -> float | None:
        """Dense peak of one device; None where the device is not known or has none."""
        return None if self.hardware is None else self.hardware.peak_flop_per_s.get(self.dtype)

    @property
    def framework(self) -> Framework | None:
        """What the name of the software says; None where it says nothing."""
        return framework_of(self.setting.software) if self.setting.software else None

    @property
    def stack_id(self) -> str:
        """The software where it is named exactly, such as pytorch-fsdp2; else empty."""
        return self.setting.software if self.setting.software in stacks() else ""

    @property
    def tool(self) -> ToolConvention | None:
        """Whose count and peak a printed utilization has, where the software is a tool that is known to have its own."""
        return tool_of(self.setting.software)

    @property
    def is_decode(self) -> bool:
        """Whether tokens of a generation are asked about."""
        return self.setting.phase == "decode" or (self.main is not None and self.main.quantity == "decode_tokens_per_s")

    def layout_text(self, micro_batch: int | None = None) -> str:
        """The stated part of the layout, as `--layout` takes it; empty where nothing is stated."""
        s = self.setting
        stated: dict[str, Any] = {name: getattr(s, name) for name in ("tp", "pp", "cp", "ep", "zero")}
        stated |= {"micro_batch": micro_batch or s.micro_batch, "recompute": s.recompute if s.recompute not in ("", "none") else None}
        if stated["zero"] is None and self.framework is not None and self.framework.shards:
            stated["zero"] = self.framework.zero
        return ",".join(f"{name}={value}" for name, value in stated.items() if value is not None)


FREEZE_TRAINS = 2
"""Layers that a freeze tuning trains where nobody says: LLaMA-Factory's freeze_trainable_layers. Source: hparams/finetuning_args.py."""


def tool_of(software: str) -> ToolConvention | None:
    """The tool whose convention a printed figure has, by its name, the longest id or alias that stands in it; None where none does.

    >>> tool_of("nanoGPT").id, tool_of("my loop") is None
    ('nanogpt', True)
    """
    name = software.casefold().replace(" ", "-")
    known = ((word, tool) for tool in tools().values() for word in (tool.id, *tool.aliases) if tool.id not in OURS)
    found = [(len(word), tool) for word, tool in known if name and word.casefold() == name]
    return max(found, key=lambda pair: pair[0])[1] if found else None


OURS = ("full", "causal", "hardware", "6nd")
"""Conventions of this project, which no software is called after."""


def question_of(observed: Observed, model: Model | None = None, hardware: Hardware | None = None) -> DiagnosisQuestion:
    """The question with the names of the setting read; a name that means nothing leaves its fact open, and says so.

    Args:
        model, hardware: in place of the setting's names.
    """
    s, said = observed.setting, []
    if model is None:
        try:
            model = _model(s)
        except RequestError as error:
            said.append(str(error))
    if hardware is None and s.hardware:
        from estimators.facts.device_names import device_named
        from estimators.facts.registry import hardware as by_id

        try:
            hardware = by_id(device_named(s.hardware).hardware_id)
        except RequestError as error:
            said.append(str(error))
    return DiagnosisQuestion(observed=observed, model=model, hardware=hardware, said=tuple(said))


def _model(s: Setting) -> Model | None:
    from estimators.architectures.from_config import model_from_config

    if s.config:
        return model_from_config(dict(s.config), s.model or "the posted configuration")
    if not s.model:
        return None
    from estimators.facts.model_names import entry_named
    from estimators.facts.sized_llama import sized_llama

    if sized := sized_llama(s.model):
        return model_from_config(sized.config, sized.name, sized.source)
    entry = entry_named(s.model)
    return model_from_config(entry.config, entry.id, entry.source)


def layout_of(question: DiagnosisQuestion, micro_batch: int, global_batch: int, zero: int | None = None) -> Layout:
    """The stated layout with a micro-batch. Raises BadValueError where degrees do not divide the devices."""
    from estimators.cost.layout import parse_layout

    text = question.layout_text(micro_batch) + ("" if zero is None else f",zero={zero}")
    return parse_layout(text, num_devices=question.num_devices or 1, global_batch=global_batch)
