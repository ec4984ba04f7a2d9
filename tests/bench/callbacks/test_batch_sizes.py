"""The size of a batch, by hand: rows, positions, padding and tokens that bear a loss, from any nesting; and what cannot be told."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.backend.device import Device
from bench.callbacks.batches import BatchSize, given_size, size_by_loader, size_of
from bench.callbacks.modules import label_use
from bench.callbacks.steps import StepLog
from bench.callbacks.token_counts import LabelUse

X, IMAGE, TARGETS = torch.zeros(4, 8), torch.zeros(3, 32, 32), {"boxes": torch.zeros(2, 4), "labels": torch.zeros(2, dtype=torch.long)}
Pair = namedtuple("Pair", "x y")


@dataclasses.dataclass
class Columns:
    x: Any
    y: Any


@dataclasses.dataclass
class Text:
    input_ids: Any
    attention_mask: Any = None


class Slots:
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x


class Hidden:
    """Something that says nothing of its size."""

    def __init__(self) -> None:
        self._x = X


def ids(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.long)


def graphs(**more: Any) -> SimpleNamespace:
    """A batch of graphs of 57 nodes and 100 edges."""
    return SimpleNamespace(x=torch.zeros(57, 8), edge_index=ids(2, 100), **more)


@pytest.mark.parametrize(
    ("batch", "rows"),
    [
        (X, 4),
        ((X, ids(4)), 4),
        ([X], 4),
        ([X, X], 4),  # inputs and targets
        ({"x": X, "y": ids(4)}, 4),
        ({"step": 3, "x": X}, 4),
        ((None, X), 4),
        ((0, {"x": X}), 4),  # enumerate
        ([[X, X], ids(4)], 4),  # two inputs and their targets
        (({"x": X}, {"y": torch.zeros(4, 1)}), 4),
        (({"x": torch.zeros(4, 16, 8)}, {"y": torch.zeros(4, 16, 1)}), 4),  # sequences, and as many as an image has channels
        (({"x": torch.zeros(4, 16, 8)}, ids(4)), 4),
        (([IMAGE] * 8, []), 8),  # W07
        (([IMAGE] * 8, [TARGETS] * 8), 8),
        (((IMAGE,) * 8, (TARGETS,) * 8), 8),
        (([IMAGE], [TARGETS]), 1),
        (([torch.zeros(3, 32, 40), torch.zeros(3, 30, 32)], [TARGETS] * 2), 2),
        ([{"image": IMAGE}] * 4, 4),  # W07
        ([{"image": IMAGE, "height": 32, "instances": Hidden()}] * 4, 4),
        ([IMAGE] * 8, 8),
        ([(IMAGE, 3), (IMAGE, 5)], 2),
        ([(torch.zeros(8), torch.tensor(3))] * 5, 5),
        ([torch.zeros(5), torch.zeros(7)], 2),
        ([{"x": torch.zeros(50, 80)}, {"x": torch.zeros(40, 80)}], 2),
        ({"label": [1, 2, 3, 4], "image": [IMAGE] * 4}, 4),
        ({"labels": ids(9), "pixel_values": [IMAGE] * 3}, 3),
        ({"labels": ids(4, 20), "input_values": torch.zeros(4, 16000)}, 4),
        ({"labels": ids(4, 20), "input_features": torch.zeros(4, 80, 3000)}, 4),
        (["a text", "another"], 2),
        ({"a": [X, ids(4)], "b": [torch.zeros(8, 8), ids(8)]}, 12),  # W08
        (([X, ids(4)], [torch.zeros(8, 8), ids(8)]), 12),
        (({"a": [X], "b": [torch.zeros(8, 8)]}, 0, 0), 12),
        (([X, ids(4)], [torch.zeros(28, 8), torch.zeros(28, 8)]), 32),  # labelled and unlabelled
        (Columns(X, ids(4)), 4),  # W09
        (Pair(X, ids(4)), 4),
        (Slots(X), 4),
        (SimpleNamespace(tensors=torch.zeros(2, 3, 8, 8), mask=torch.zeros(2, 8, 8)), 2),
        ((SimpleNamespace(tensors=torch.zeros(2, 3, 8, 8)), [TARGETS] * 2), 2),
        (X.numpy(), 4),
        ((X.numpy(), np.zeros(4)), 4),
        (graphs(batch=ids(57), num_graphs=6), 6),
        (graphs(batch=ids(57), ptr=ids(7)), 6),
        (graphs(), 1),
        (nn.utils.rnn.pack_sequence([torch.zeros(7, 3), torch.zeros(5, 3)]), 2),
        (torch.nested.nested_tensor([torch.zeros(5), torch.zeros(7)], layout=torch.jagged), 2),
    ],
)
def test_samples_are_the_rows_of_columns_the_items_of_lists_and_the_sum_of_loaders(batch: Any, rows: int) -> None:
    size = size_of(batch)
    assert (size.item, size.rows, size.num_positions, size.unknown) == ("sample", rows, rows, "")


@pytest.mark.parametrize(
    ("batch", "rows", "length", "positions"),
    [
        ({"input_ids": ids(4, 16)}, 4, 16, 64),
        ({"input_ids": ids(4, 3, 16), "labels": ids(4)}, 12, 16, 192),  # W05
        ({"input_ids": [ids(5), ids(7)]}, 2, 7, 12),  # W07
        ({"input_ids": [[1] * 5, [1] * 7]}, 2, 7, 12),
        ([{"input_ids": ids(5)}, {"input_ids": ids(7)}], 2, 7, 12),
        ({"input_ids": ids(37), "cu_seqlens": ids(3)}, 1, 37, 37),
        ({"input_ids": ids(1, 37), "position_ids": ids(1, 37), "attention_mask": None}, 1, 37, 37),
        ({"input_ids": torch.nested.nested_tensor([ids(5), ids(7)], layout=torch.jagged)}, 1, 12, 12),
        ({"inputs_embeds": torch.zeros(4, 8, 32)}, 4, 8, 32),
        ({"pixel_values": torch.zeros(1000, 1176), "input_ids": ids(2, 64)}, 2, 64, 128),
        ({"input_ids": ids(4, 16).numpy()}, 4, 16, 64),
        (Text(ids(4, 16)), 4, 16, 64),
        ({"idx": ids(4), "text": {"input_ids": ids(4, 8)}}, 4, 8, 32),
        (([{"input_ids": ids(4, 8)}, {"input_ids": ids(4, 9)}], ids(4)), 8, 9, 68),
        ({"chosen_input_ids": ids(2, 3), "rejected_input_ids": ids(2, 5)}, 4, 5, 16),
        ({"input_ids": ids(4, 16), "decoder_input_ids": ids(4, 6)}, 4, 16, 4 * 16 + 4 * 6),
    ],
)
def test_tokens_are_the_positions_that_are_computed(batch: Any, rows: int, length: int, positions: int) -> None:
    size = size_of(batch)
    assert (size.item, size.rows, size.length, size.num_positions, size.unknown) == ("token", rows, length, positions, "")


class Store:
    """A graph that keeps its tensors as torch_geometric's does: out of sight."""

    def __init__(self, **held: Any) -> None:
        self._store = held

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._store:
            raise AttributeError(name)
        return self._store[name]


@pytest.mark.parametrize(
    ("batch", "rows"),
    [(Store(num_nodes=57, num_graphs=6), 6), (Store(num_nodes=57), 1), ([Store(num_nodes=5), Store(num_nodes=7)], 2)],
)
def test_graphs_out_of_sight(batch: Any, rows: int) -> None:
    assert size_of(batch).rows == rows
    assert size_of((batch, torch.zeros(rows))).rows == rows


@pytest.mark.parametrize("package", ["tensordict", "transformers", "torch_geometric"])
def test_batches_of_other_packages(package: str) -> None:
    module = pytest.importorskip(package)
    if package == "torch_geometric":
        from torch_geometric.data import Batch, Data

        graphs = [Data(x=torch.zeros(5 + i, 8), edge_index=ids(2, 10)) for i in range(4)]
        assert [size_of(batch).rows for batch in (Batch.from_data_list(graphs), graphs, graphs[0])] == [4, 4, 1]
    elif package == "tensordict":
        assert size_of(module.TensorDict({"x": X}, batch_size=[4])).rows == 4
        assert size_of(module.TensorDict({"input_ids": ids(4, 16)}, batch_size=[4])).num_positions == 64
    else:
        size = size_of(module.BatchEncoding({"input_ids": ids(2, 5), "attention_mask": torch.tensor([[0, 1, 1, 1, 1], [1] * 5])}))
        assert (size.num_positions, size.num_padding) == (10, 1)


MASK = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])  # two positions of padding, on the left
ADDED = torch.zeros(2, 4).masked_fill(MASK == 0, -1e9)


@pytest.mark.parametrize(
    ("mask", "padding"),
    [
        (MASK, 2),
        (MASK.bool(), 2),
        (MASK.float(), 2),
        (MASK.bfloat16(), 2),
        (ADDED, 2),
        (torch.zeros(2, 4), 0),  # added to scores, and hides nothing
        (MASK.numpy(), 2),
        (MASK * torch.tensor([[3, 3, 3, 3], [5, 5, 6, 6]]), 2),  # numbers of documents
        (None, None),
        (torch.ones(2, 1, 4, 4, dtype=torch.bool), None),  # of queries by keys
        (torch.ones(2, 9), None),
        (MASK.to("meta"), None),
    ],
)
def test_padding_is_what_a_mask_of_the_tokens_shape_hides(mask: Any, padding: int | None) -> None:
    assert size_of({"input_ids": ids(2, 4), "attention_mask": mask}).num_padding == padding


LABELS = torch.tensor([[5, 5, -100, -100], [-100, 5, 5, 5]])


@pytest.mark.parametrize(
    ("more", "use", "tokens"),
    [
        ({"labels": LABELS}, LabelUse(), 5),
        ({"labels": LABELS}, LabelUse(shifted=True), 4),  # the first row's first label is no target
        ({"labels": LABELS.numpy()}, LabelUse(shifted=True), 4),
        ({"labels": LABELS, "shift_labels": LABELS}, LabelUse(shifted=True), 5),
        ({"labels": ids(2)}, LabelUse(), None),  # of classes
        ({"labels": LABELS.float()}, LabelUse(), None),
        ({}, LabelUse(), None),
    ],
)
def test_tokens_that_bear_a_loss_are_labels_other_than_minus_100(more: Any, use: LabelUse, tokens: int | None) -> None:
    assert size_of({"input_ids": ids(2, 4)} | more, use).num_loss_tokens == tokens


def test_both_sides_of_an_encoder_decoder_are_tokens_and_its_targets_are_padded_with_minus_100() -> None:
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    size = size_of({"input_ids": ids(2, 6), "attention_mask": mask, "labels": LABELS}, LabelUse(as_target=True))
    assert (size.rows, size.length, size.num_positions, size.num_padding, size.num_loss_tokens) == (2, 6, 12 + 8, 2 + 3, 5)
    shifted = {"decoder_input_ids": ids(2, 4), "decoder_attention_mask": MASK}
    told = size_of({"input_ids": ids(2, 6), "attention_mask": mask, "labels": LABELS} | shifted)
    assert (told.num_positions, told.num_padding, told.num_loss_tokens) == (20, 2 + 2, 5)


def test_one_loader_gives_columns_and_each_of_several_its_own_batch() -> None:
    alike = ([X, X], [X, X])
    assert size_of(alike).rows == 8
    assert size_of(alike, one_loader=True).rows == 4
    assert size_by_loader({"a": X, "b": torch.zeros(8, 8)}).rows == 12
    assert size_by_loader([[X, X], None]).rows == 4  # the second has ended
    assert size_by_loader({"a": {"input_ids": ids(4, 16)}, "b": {"input_ids": ids(2, 8)}}).num_positions == 80
    assert size_by_loader({"a": X, "b": Hidden()}).unknown == "no tensor, list or input_ids in a batch of type Hidden"


@pytest.mark.parametrize("batch", ["a text", None, 3, Hidden(), [], {}, torch.tensor(1.0), iter(()), ids(0, 3), {"text": Hidden()}])
def test_a_size_that_cannot_be_told_is_a_reason_and_no_error(batch: Any) -> None:
    size = size_of(batch)
    assert (size.rows, size.length) == (0, 0)
    assert size.unknown == f"no tensor, list or input_ids in a batch of type {type(batch).__name__}"


def test_a_nest_without_an_end_is_left() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert size_of(endless).unknown


def test_a_size_of_ones_own_is_a_batch_size_or_a_number_of_samples() -> None:
    own = BatchSize(rows=2, length=8)
    assert given_size(lambda _: own, None) is own
    assert given_size(len, "abc") == BatchSize(rows=3, length=1, item="sample")
    for wrong, kind in ((None, "NoneType"), (True, "bool"), (0, "int"), (2.0, "float")):
        assert given_size(lambda _, wrong=wrong: wrong, None).unknown == f"size= gave {kind}; expected a BatchSize, or a number of samples"


def test_what_a_model_makes_of_labels_is_read_off_its_class() -> None:
    t = pytest.importorskip("transformers")
    small: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 8, "vocab_size": 16}
    llama, bert = t.LlamaConfig(**small), t.BertConfig(**small)
    t5 = t.T5Config(vocab_size=16, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    shifted = [t.LlamaForCausalLM(llama), t.GPT2LMHeadModel(t.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16))]
    given = [t.LlamaModel(llama), t.LlamaForSequenceClassification(llama), t.BertForMaskedLM(bert), nn.Linear(2, 2)]
    assert {label_use(model) for model in shifted} == {LabelUse(shifted=True)}
    assert {label_use(model) for model in given} == {LabelUse()}
    assert label_use(t.T5ForConditionalGeneration(t5)) == LabelUse(as_target=True)
    assert label_use(nn.Sequential(nn.Linear(2, 2), shifted[0])) == LabelUse(shifted=True)  # whatever it is in


class OnDevice(torch.Tensor):
    """A tensor that says that it is not on the CPU: reading it would wait for its device."""

    is_cpu = property(lambda self: False)  # type: ignore[assignment]


class Operators(TorchDispatchMode):
    """The operators that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("mask", [MASK, MASK.float(), ADDED])
def test_counts_on_a_device_stay_there(mask: torch.Tensor) -> None:
    batch = {"input_ids": ids(2, 4), "attention_mask": mask, "labels": LABELS}
    on_device = {name: tensor.as_subclass(OnDevice) for name, tensor in batch.items()}
    with Operators() as ran:
        size = size_of(on_device, LabelUse(shifted=True))
    assert ran.names
    assert not {"_local_scalar_dense.default", "nonzero.default", "_to_copy.default"} & set(ran.names)
    with Operators() as read:
        assert (int(size.num_padding), int(size.num_loss_tokens)) == (2, 4)  # type: ignore[arg-type]
    assert "_local_scalar_dense.default" in read.names  # what would wait


def test_counts_of_several_batches_on_a_device_are_read_when_their_step_is() -> None:
    log = StepLog(Device(kind="cpu", index=0, name="a CPU", uuid=None))
    log.begin(0.0)
    batch = {"input_ids": ids(2, 4), "attention_mask": MASK.as_subclass(OnDevice), "labels": LABELS.as_subclass(OnDevice)}
    for more in ({}, {}, {"labels": None}):
        log.add(size_of(batch | more))
    log.end()
    log.settle(last=True)
    (step,) = log.done
    assert (step.num_positions, step.num_items, step.num_padding, step.num_loss_tokens) == (24, 18, 6, 10)
