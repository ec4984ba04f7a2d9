"""Traced op tables are data: polynomials that are held to one more size, rows that say what hand-written ones say, files read strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from estimators.architectures.polynomials import Fit, Polynomial, monomial, straight
from estimators.architectures.traced import TracedModel, TracedRow
from estimators.architectures.traced_file import KEY, as_json, from_json, is_traced
from estimators.counting.conventions import step_flop
from estimators.counting.estimate import estimate
from estimators.errors import BadConfigError, BadValueError, UnavailableError
from estimators.facts import traced_tables
from estimators.facts.registry import hardware
from estimators.frozen import replace
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.held_weights import served_model
from estimators.spec import Case, Source, Workload

B, BT, BTT = monomial("batch"), monomial("batch", "seq"), monomial("batch", "seq", "seq")
BC = monomial("batch", "context")


def poly(*terms: tuple[Any, int]) -> Polynomial:
    return Polynomial(terms=terms)


def one_layer() -> TracedModel:
    """D 8, one head of 8, two layers: a matrix of D x D, scores of T x T x 8, a cache of keys, 8 of a token."""
    matrix = TracedRow(
        name="layers.*.q",
        component="attention",
        kind="matmul",
        part="layers.*",
        role="query",
        cut="columns",
        count=2,
        params=64,
        weights=64,
        recomputed=True,
        flop=poly((BT, 128)),
        backward_flop=poly((BT, 256)),
        matrices=poly(((), 1)),
        m=poly((BT, 1)),
        n=poly(((), 8)),
        k=poly(((), 8)),
    )
    scores = TracedRow(
        name="layers.*.scores",
        component="attention",
        kind="attention",
        part="layers.*",
        role="scores",
        cut="heads",
        count=2,
        causal=True,
        flop=poly((BTT, 16)),
        backward_flop=poly((BTT, 32)),
        matrices=poly((B, 1)),
        m=poly((monomial("seq"), 1)),
        n=poly((monomial("seq"), 1)),
        k=poly(((), 8)),
    )
    cache = TracedRow(name="cache", component="attention", kind="elementwise", part="", role="elementwise", cut="whole", count=2, window=5)
    grown = {"flop": poly((BC, 16), (B, 16)), "m": poly(((), 1)), "n": poly((monomial("context"), 1), ((), 1))}
    decode = (
        TracedRow(**{name: getattr(matrix, name) for name in matrix._fields} | {"flop": poly((B, 128)), "m": poly((B, 1))}),
        TracedRow(**{name: getattr(scores, name) for name in scores._fields} | {"window": 5, **grown}),
        TracedRow(**{name: getattr(cache, name) for name in cache._fields} | {"cache": poly((BC, 8), (B, 8))}),
    )
    return TracedModel(
        name="one",
        source=Source(title="one"),
        runs="OneForCausalLM",
        traced_from="transformers 5.24.0, torch 2.13.0",
        tables={"train": (matrix, scores), "decode": decode},
        max_positions=64,
        layers=2,
        width=8,
        vocab=10,
    )


def test_a_polynomial_goes_through_its_points_and_is_held_to_its_checks() -> None:
    """T(T + 1)/2 pairs of a triangle: halves stay whole."""
    fit = Fit([monomial("seq"), monomial("seq", "seq")], [{"seq": 2}, {"seq": 3}], [{"seq": 7}])
    found = fit.through([3, 6, 28])
    assert found is not None
    assert [found.at({"seq": t}) for t in (1, 10, 1000)] == [1, 55, 500_500]
    assert fit.through([3, 6, 29]) is None


def test_points_that_tell_nothing_apart_are_refused() -> None:
    with pytest.raises(UnavailableError, match="do not tell the terms of a polynomial apart"):
        Fit([monomial("seq"), monomial("batch", "seq")], [{"batch": 1, "seq": 2}, {"batch": 1, "seq": 4}], [])


@pytest.mark.parametrize(("values", "at_40"), [([9, 11, 17], 41), ([7, 7, 7], 7), ([18, 22, 34], 82), ([9, 11, 18], None)])
def test_a_dimension_is_a_line(values: list[int], at_40: int | None) -> None:
    line = straight(values, [{"seq": 8}, {"seq": 10}, {"seq": 16}])
    assert (None if line is None else line.at({"seq": 40})) == at_40


def test_its_rows_are_summed_as_any_model_s() -> None:
    said = estimate(Case(model=one_layer(), workload=Workload(phase="train", batch=3, seq_len=10)))
    assert said.params == 2 * 64
    assert said.forward_flop == 3 * 2 * (10 * 128 + 100 * 16)
    assert said.backward_flop == 2 * said.forward_flop
    assert said.flop["causal"] == said.flop["full"] - 3 * (3 * 2 * 100 * 16) // 2
    assert said.flop["hardware"] == said.flop["full"]


def test_full_recomputation_runs_the_layers_twice() -> None:
    workload = Workload(phase="train", batch=1, seq_len=10, recompute="full")
    flop = step_flop(one_layer().ops(workload), workload)
    assert flop["hardware"] - flop["full"] == 2 * 10 * 128


def test_behind_a_window_a_decode_step_meets_no_more_keys() -> None:
    """A window of 5: four cached, and its own; the cache keeps the four that the next query sees."""
    ops = {op.name: op for op in one_layer().ops(Workload(phase="decode", batch=1, context_len=50))}
    assert ops["layers.*.scores"].flop == 16 * 5
    assert ops["cache"].held_cache_bytes == 2 * 8 * 4
    assert ops["cache"].cache_bytes == 2 * 8 * 5


def test_a_phase_that_was_not_traced_is_refused() -> None:
    with pytest.raises(BadValueError, match="phase 'prefill': one was traced without it; expected one of: train, forward, decode"):
        one_layer().ops(Workload(phase="prefill", seq_len=4))


def test_a_file_says_what_was_written() -> None:
    model = one_layer()
    body = json.loads(as_json(model))
    assert is_traced(body)
    assert not is_traced({"model_type": "llama"})
    again = from_json(body, "table.json")
    for workload in (Workload(phase="train", batch=2, seq_len=9), Workload(phase="decode", context_len=30)):
        assert again.ops(workload) == model.ops(workload)
    assert again.stack == model.stack


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({KEY: 2}, "expected 1: write it anew with show --export"),
        ({"tables": {}}, "is no traced op table"),
        ({"tables": {"train": [{"name": "x"}]}}, "is no traced op table"),
        ({"layers": -1}, "is no traced op table"),
        ({"layers": True}, "is no traced op table"),
        ({"takes": "pictures"}, "is no traced op table"),
        ({"tables": {"train": [{"flop": [0, [1, "batch"]]}]}}, "is no traced op table"),
        ({"tables": {"train": [{"polynomial": 1}]}}, "unknown field 'polynomial'"),
    ],
)
def test_a_file_of_nonsense_is_one_line(change: dict[str, Any], match: str) -> None:
    with pytest.raises(BadConfigError, match=match) as caught:
        from_json({**json.loads(as_json(one_layer())), **change}, "table.json")
    assert "\n" not in str(caught.value)


def test_a_table_is_kept_by_configuration_and_versions(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(traced_tables, "_is_installed", lambda package, version: version in ("", "5.24.0", "2.13.0"))
    config = {"model_type": "one", "hidden_size": 8}
    assert traced_tables.kept(config, "mine") is None
    traced_tables.keep(config, one_layer(), ("5.24.0", "2.13.0"))
    found = traced_tables.kept(config, "mine")
    assert found is not None
    assert found.name == "mine"
    assert traced_tables.kept({**config, "hidden_size": 9}, "other") is None
    monkeypatch.setattr(traced_tables, "_is_installed", lambda package, version: version in ("", "5.25.0", "2.13.0"))
    assert traced_tables.kept(config, "mine") is None


def test_a_damaged_table_is_traced_anew(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(traced_tables, "_is_installed", lambda package, version: True)
    traced_tables.keep({"a": 1}, one_layer(), ("1", "2"))
    (path,) = (tmp_path / "sixnd" / "traced").iterdir()
    path.write_text(path.read_text()[:100])
    assert traced_tables.kept({"a": 1}, "mine") is None


def test_a_decoder_whose_cache_was_not_seen_is_not_served() -> None:
    """As RecurrentGemma's, which lies in its class: a sequence takes memory, and none was traced."""
    seen = one_layer()
    unseen = replace(seen, tables={**seen.tables, "decode": seen.tables["decode"][:2]})
    with pytest.raises(BadValueError, match="one keeps what it knows of earlier tokens in its class and in no cache"):
        served_model(Deployment(model=unseen, hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm")))
