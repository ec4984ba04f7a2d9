"""Embeddings of each layer's own as transformers writes them: what their projection, gate and norms keep."""

from __future__ import annotations

from estimators.architectures.block import Norm
from estimators.architectures.layer_inputs import LayerInput, LayerInputs
from estimators.memory.autograd.activation_functions import activated
from estimators.memory.autograd.norms import normed
from estimators.memory.autograd.tape import Tape, Tensor

POWER_NORM = Norm(written="rms_power")


def projected_for_layers(tape: Tape, inputs: LayerInputs, x: Tensor, t: int, layers: int) -> None:
    """What stands before the first layer: a projection of the embeddings `x` for all layers, normed, plus what the table has."""
    projected = tape.linear(x, t * layers * inputs.width, "outer")
    normed(tape, POWER_NORM, projected, inputs.width)


def added_by_layer(tape: Tape, part: LayerInput, x: Tensor, t: int, width: int) -> Tensor:
    """What a layer adds of its vector over `t` tokens that read `x`: of all layers' vectors each layer keeps its own."""
    gate = activated(tape, part.activation, tape.linear(x, t * part.width, "inner", "layer_gate"))
    product = tape.mul(gate, tape.tensor(t * part.width, tape.weight_size, "inner"))
    return normed(tape, POWER_NORM, tape.linear(product, t * width, "outer", "layer_up"), width)
