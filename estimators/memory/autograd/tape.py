"""A tape of a forward pass without numbers: each operation keeps for backward what torch's own keeps, each storage once.

Source: torch, tools/autograd/derivatives.yaml (version 2.13): which of its operands and results a derivative reads.
"""

from __future__ import annotations

from typing import Literal, get_args

from estimators.frozen import frozen, replace
from estimators.memory.kernels import Kernels
from estimators.memory.saved import SavedActivations

Place = Literal["inner", "outer", "routed", "scores", "once"]
"""How a layout divides it, see SavedActivations; `once`: kept once for all sequences of a pass."""

INDEX_BYTES = 8
"""Of an index of torch."""


@frozen
class Tensor:
    """A tensor of one sequence; views share a storage.

    Attributes:
        storage: its number on the tape.
        elements, size: how many, and bytes of one.
        place: how a layout divides it.
        grad: whether it needs a gradient.
        by_head: whether it lies head by head in memory, so that joining the heads of a token copies it.
    """

    storage: int
    elements: int
    size: int
    place: Place
    grad: bool = True
    by_head: bool = False


@frozen
class Adapted:
    """Frozen weights with adapters beside some of them.

    Attributes:
        rank: of the adapters.
        targets: roles of the matrices that have them.
        tokens: of a sequence.
        size: bytes per element of the adapters' weights.
        autocast: whether adapters multiply under autocast, in the tape's dtype.
        mask_bytes: per element of an adapter's input, of the mask that drops some of it; 0 where nothing is dropped.
        lengths: whether each output has a trained length (DoRA), whose product keeps the output of matrix and adapter.
        returns_input_dtype: whether frozen matrices return what they were given, as bitsandbytes' do, whatever they compute in.
        keeps_inputs: whether frozen matrices keep their inputs all the same.
        merges_experts: whether weights of experts, which are one parameter, are added up with their adapters before they multiply.
    """

    rank: int
    targets: frozenset[str]
    tokens: int
    size: int = 4
    autocast: bool = True
    mask_bytes: int = 0
    lengths: bool = False
    returns_input_dtype: bool = False
    keeps_inputs: bool = False
    merges_experts: bool = True


class Tape:
    """Storages that a pass makes, and those that backward reads.

    Attributes:
        spared_adapters, spared_weights: elements of adapters and of frozen matrices that read what needs no gradient: backward reads
            neither, nor a copy of them.
    """

    def __init__(self, kernels: Kernels, size: int, adapted: Adapted | None = None) -> None:
        """Args:
        kernels: the software's.
        size: bytes per element of what is computed with.
        adapted: where weights are frozen; None where all are trained.
        """
        self.kernels = kernels
        self.adapted = adapted
        self.size = size
        self.autocast = kernels.autocast and size < 4
        self.weight_size = kernels.norm_bytes or (4 if self.autocast else size)
        self.spared_adapters = self.spared_weights = 0
        self._made: list[tuple[int, Place]] = []
        self._kept: set[int] = set()

    @property
    def multiplies_low(self) -> bool:
        """Whether products run under autocast."""
        return self.autocast or (self.adapted is not None and self.adapted.autocast)

    def tensor(self, elements: int, size: int, place: Place, *, grad: bool = True, by_head: bool = False) -> Tensor:
        """A new storage."""
        self._made.append((elements * size, place))
        return Tensor(storage=len(self._made) - 1, elements=elements, size=size, place=place, grad=grad, by_head=by_head)

    def like(self, x: Tensor, *, elements: int | None = None, size: int | None = None) -> Tensor:
        """A new storage for a result that lies as `x` does: of a sum, a product with a number, a reduction."""
        count = x.elements if elements is None else elements
        return self.tensor(count, size or x.size, x.place, grad=x.grad, by_head=x.by_head)

    def keep(self, *tensors: Tensor) -> None:
        """Backward reads them."""
        self._kept.update(tensor.storage for tensor in tensors)

    def is_kept(self, x: Tensor) -> bool:
        """Whether backward reads it."""
        return x.storage in self._kept

    def kept(self) -> SavedActivations:
        """Bytes of what is kept, by how a layout divides it."""
        total = dict.fromkeys(get_args(Place), 0)
        for storage in self._kept:
            size, place = self._made[storage]
            total[place] += size
        return SavedActivations(**total)

    def given(self, elements: int, size: int) -> Tensor:
        """What others made, and count: keeping it costs nothing here."""
        self._made.append((0, "outer"))
        return Tensor(storage=len(self._made) - 1, elements=elements, size=size, place="outer")

    def cast(self, x: Tensor, size: int) -> Tensor:
        """The same in another dtype: a copy, or itself."""
        return x if x.size == size else self.like(x, size=size)

    def low(self, x: Tensor) -> Tensor:
        """An operand of a matrix product: under autocast a copy in the lower precision."""
        return self.cast(x, self.size) if self.autocast else x

    def wide(self, x: Tensor) -> Tensor:
        """An operand of what autocast runs in fp32 on a GPU, and leaves alone on a CPU: powers, roots, sums, softmax, layer norms."""
        return self.cast(x, 4) if self.autocast and self.kernels.wide_elementwise else x

    def keep_for_weights(self, *tensors: Tensor, role: str = "") -> None:
        """The gradient of weights reads them, where those are trained, or made anew of frozen ones and an adapter of that role."""
        if self.adapted is None or role in self.adapted.targets:
            self.keep(*tensors)

    def expert_adapters(self, role: str, x: Tensor, rows: int, experts: int, sides: tuple[int, int], ranks: int) -> None:
        """What adapters of experts keep, beside what is kept for the gradient of weights.

        Merged, the sum of weights and adapters once, and casts of both factors; else, where experts are layers of their own, each
        adapter its input and its middle.

        Args:
            x: what the experts read, in `rows` rows.
            sides: inputs and outputs of one expert's matrix.
            ranks: of its adapter in those of a plain one.

        Source: peft, tuners/lora/layer.py, ParamWrapper and Linear (version 0.21).
        """
        if self.adapted is None or role not in self.adapted.targets:
            return
        inputs, outputs = sides
        if not self.adapted.merges_experts:
            size = self.size if self.adapted.autocast else self.adapted.size
            self.keep(self.cast(x, size), self.tensor(rows * ranks * self.adapted.rank, size, x.place))
            return
        self.index(experts * outputs * inputs, "once", size=self.weight_size)
        if self.adapted.size != self.weight_size:
            self.index(experts * ranks * self.adapted.rank * (outputs + inputs), "once", size=self.weight_size)

    def linear(self, x: Tensor, elements: int, place: Place, role: str = "") -> Tensor:
        """A matrix of weights keeps its input, a frozen one nothing, an adapter beside it a copy of the input and its own middle."""
        given = x
        x = self.low(x)
        self.keep_for_weights(x)
        if not self.adapted:
            return self.tensor(elements, self.size, place)
        if self.adapted.keeps_inputs:
            self.keep(self.cast(x, self.size))
        out = self.tensor(elements, given.size if self.adapted.returns_input_dtype else self.size, place, grad=given.grad)
        if not given.grad:
            self.spared_weights += elements // self.adapted.tokens * given.elements // self.adapted.tokens
        return self._beside(self.adapted, given, out) if role in self.adapted.targets else out

    def _beside(self, adapted: Adapted, x: Tensor, out: Tensor) -> Tensor:
        """The sum of a frozen matrix's output and its adapter's: the adapter keeps its input as it multiplies it, and its middle."""
        size = self.size if adapted.autocast else adapted.size
        x = self.cast(x, adapted.size)
        if adapted.mask_bytes and x.grad:
            self.index(x.elements, x.place, size=adapted.mask_bytes)
            x = self.like(x)
        x = self.cast(x, size)
        if not x.grad:
            self.spared_adapters += adapted.rank * x.elements // adapted.tokens
        self.keep(x, self.tensor(adapted.tokens * adapted.rank, size, out.place))
        if adapted.lengths:  # of what is dropped the matrix's own product is made anew, as the adapter multiplies
            self.keep(self.like(out, size=size if adapted.mask_bytes else out.size), self.like(out, size=size))
        return replace(self.like(out), grad=True)

    def matmul(self, a: Tensor, b: Tensor, elements: int, place: Place) -> Tensor:
        """A product of two activations: each is kept for the other's gradient."""
        left, right = self.low(a), self.low(b)
        self.keep(*([right] if a.grad else []), *([left] if b.grad else []))
        return self.tensor(elements, self.size, place, grad=a.grad or b.grad)

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        """Element by element: each is kept for the other's gradient."""
        if a.grad:
            self.keep(b)
        if b.grad:
            self.keep(a)
        larger = a if a.elements >= b.elements else b
        return replace(self.like(larger, size=max(a.size, b.size)), grad=a.grad or b.grad)

    def divided(self, a: Tensor, b: Tensor) -> Tensor:
        """Element by element: the divisor is kept for both gradients, what is divided for the divisor's."""
        if a.grad or b.grad:
            self.keep(b)
        if b.grad:
            self.keep(a)
        return replace(self.like(a), grad=a.grad or b.grad)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """A sum keeps nothing."""
        return replace(self.like(a if a.elements >= b.elements else b, size=max(a.size, b.size)), grad=a.grad or b.grad)

    def of_input(self, x: Tensor) -> Tensor:
        """A kernel whose gradient is computed from its input: GELU, SiLU, softplus, erf."""
        self.keep(*([x] if x.grad else []))
        return self.like(x)

    def of_result(self, x: Tensor) -> Tensor:
        """A kernel whose gradient is computed from its result: tanh, sigmoid, ReLU, exp."""
        result = self.like(x)
        self.keep(*([result] if result.grad else []))
        return result

    def power(self, x: Tensor) -> Tensor:
        """x to the power of a number."""
        return self.of_input(self.wide(x))

    def softmax(self, x: Tensor) -> Tensor:
        """Its result is kept."""
        return self.of_result(self.wide(x))

    def root_of_mean(self, x: Tensor, rows: int) -> Tensor:
        """1 / sqrt(mean(x^2)) of each of `rows` rows; the input is kept, and the result."""
        self.power(x)
        return self.of_result(self.like(x, elements=rows, size=max(x.size, 4 if self.kernels.wide_elementwise else x.size)))

    def index(self, num: int, place: Place, size: int = INDEX_BYTES) -> None:
        """An index that a gather, a scatter or a choice of the largest keeps; or, of one byte each, a mask."""
        self.keep(self.tensor(num, size, place, grad=False))

    def view(self, x: Tensor, elements: int) -> Tensor:
        """A part of it, in the same storage: what keeps it keeps the whole."""
        return replace(x, elements=elements)

    def joined_heads(self, x: Tensor) -> Tensor:
        """The heads of each token side by side: a copy where they lie head by head."""
        return replace(self.like(x), by_head=False) if x.by_head else x
