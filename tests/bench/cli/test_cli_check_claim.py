"""`check-claim`: the claimed utilization, its standing among published runs, and what physics says, through the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli.main import main
from estimators.architectures.from_config import model_from_config
from estimators.errors import BadValueError
from estimators.facts.percentile import peers, percentile
from estimators.facts.registry import hardware, model_entry
from estimators.facts.tool_conventions import tools
from estimators.spec import Model
from estimators.training.claim import check_claim
from estimators.units import DAY_S

A100 = hardware("a100-sxm4-80gb")
PHI_2 = ("--model", "phi-2", "--tokens", "1.4T", "--hardware", "a100-sxm4-80gb", "--gpus", "96")


def registered(name: str) -> Model:
    entry = model_entry(name)
    return model_from_config(entry.config, entry.id, entry.source)


@pytest.fixture
def checked(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = 0) -> Any:
        assert main(["check-claim", *words, "--format", "json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_a_model_of_images_is_judged_under_our_conventions_alone(checked: Any) -> None:
    """ViT-B/16: 35,127,656,448 FLOP forward by hand formula and torch; in training three times that, less the image's gradient under the
    first filter, 2·196·768·768: 384 M images in 12 hours on 8 H100 of 989.4 TFLOP/s."""
    claimed = ("--model", "vit-base-patch16-224", "--tokens", "384M", "--hardware", "h100-sxm5-80gb", "--gpus", "8", "--days", "12h")
    body = checked(*claimed)
    shares = body["implied_utilization_fraction_by_convention"]
    step = 3 * 35_127_656_448 - 2 * 196 * 768 * 768
    assert shares.keys() == {"full", "causal", "hardware", "6nd"}
    assert shares["full"] == pytest.approx(384e6 * step / (8 * DAY_S / 2 * 989.4e12), rel=1e-3)
    assert body["conventions"]["title"] == "What it implies under every convention"


class TestPhi2:
    """The model card's 14 days on 96 A100, which imply more than any published A100 run."""

    def test_every_convention_gives_its_share(self, checked: Any) -> None:
        # 6·2,779,683,840·1.4e12 FLOP over 96·14 days·312e12 are 64.5 % less rounding; 2.505887e22 FLOP in full are 69.2 %.
        shares = checked(*PHI_2, "--days", "14")["implied_utilization_fraction_by_convention"]
        device_s = 96 * 14 * DAY_S
        assert shares.keys() == tools().keys()
        assert shares["6nd"] == shares["gpt-3"] == pytest.approx(6 * 2_779_683_840 * 1.4e12 / device_s / 312e12)
        assert shares["full"] == pytest.approx(2.505887e22 / device_s / 312e12, rel=1e-6)
        assert shares["causal"] == shares["megatron"] == pytest.approx(2.364958e22 / device_s / 312e12, rel=1e-6)
        assert shares["palm"] == pytest.approx(2.6168e22 / device_s / 312e12, rel=1e-4)

    def test_it_stands_above_every_published_run_on_that_architecture(self, checked: Any) -> None:
        body = checked(*PHI_2, "--days", "14")
        assert (body["verdict"], body["possible"], body["percentile_fraction"]) == ("above every published run", True, 1.0)
        assert body["num_below"] == body["num_published"] > 20
        assert body["scope"] == "Ampere (GA100)"
        assert body["notes"][0].startswith("Physics allows it, experience does not: more than all ")
        names = [row["run"] for row in body["nearest"]["rows"]]
        assert names[0] == "the claim"
        assert {"TinyLlama 1.1B", "LLaMA 13B"} <= set(names)
        assert "Phi-2" not in names, "the claim must not vouch for itself"

    def test_a_slower_claim_stands_among_the_others_in_its_place(self, checked: Any) -> None:
        body = checked(*PHI_2, "--days", "25")
        assert body["verdict"] == "ordinary"
        assert 0 < body["num_below"] < body["num_published"]
        rows = body["nearest"]["rows"]
        shares = [row["utilization_fraction"] for row in rows]
        assert shares == sorted(shares, reverse=True)
        place = next(i for i, row in enumerate(rows) if row["run"] == "the claim")
        assert 0 < place < len(rows) - 1
        assert body["usual_wall_s"] == pytest.approx(25.9 * DAY_S, rel=0.01)

    def test_an_impossible_claim_is_shown_and_exits_1(self, checked: Any) -> None:
        body = checked(*PHI_2, "--days", "5", code=1)
        assert (body["verdict"], body["possible"]) == ("impossible", False)
        assert body["least_fraction"] > 1
        # Causal triangle: 2.365e22 FLOP at 96·312e12 FLOP/s are 9.14 days.
        assert body["least_wall_s"] == pytest.approx(2.364958e22 / (96 * 312e12), rel=1e-3)
        assert body["notes"][0].startswith("Impossible: what no kernel may skip takes 183 % of the dense peak for 5.00 days;")
        assert not any(note.startswith("Believe it") for note in body["notes"])

    def test_just_possible_is_not_impossible(self, checked: Any) -> None:
        assert checked(*PHI_2, "--days", "9.2")["possible"] is True
        assert checked(*PHI_2, "--days", "9.1", code=1)["possible"] is False

    def test_a_very_slow_claim_is_called_slow(self, checked: Any) -> None:
        body = checked(*PHI_2, "--days", "100")
        assert (body["verdict"], body["percentile_fraction"]) == ("below every published run", 0.0)
        assert body["nearest"]["rows"][-1]["run"] == "the claim"

    def test_recomputing_everything_would_pass_the_peak(self, checked: Any) -> None:
        notes = checked(*PHI_2, "--days", "12")["notes"]
        assert "With every activation recomputed it passes the peak: the run cannot have done that." in notes
        assert not any("recomputed" in note for note in checked(*PHI_2, "--days", "14")["notes"])
        shown = checked(*PHI_2, "--days", "14", "--recompute", "full")
        assert [row["convention"] for row in shown["rows"]] == ["full", "causal", "hardware", "6nd"]
        assert shown["rows"][2]["utilization_fraction"] == pytest.approx(3.304e22 / (96 * 14 * DAY_S) / 312e12, rel=1e-3)


def test_llama_2s_published_hours_are_ordinary_and_do_not_vouch_for_themselves(checked: Any) -> None:
    # Model card: 184,320 GPU-hours for 2T tokens.
    body = checked("--model", "llama-2-7b", "--tokens", "2T", "--hardware", "a100-sxm4-80gb", "--gpus", "1024", "--days", "180h")
    assert body["verdict"] == "ordinary"
    assert body["implied_utilization_fraction"] == pytest.approx(6 * 6_738_415_616 * 2e12 / (184_320 * 3600 * 312e12))
    assert "Llama 2 7B" not in [row["run"] for row in body["nearest"]["rows"]]


def test_where_few_runs_are_published_all_hardware_is_compared_and_it_says_so(checked: Any) -> None:
    body = checked("--model", "llama-3-8b", "--tokens", "1T", "--hardware", "b200-sxm-180gb", "--gpus", "64", "--days", "10")
    assert body["scope"] == "all hardware, as none is on Blackwell (GB100)"
    assert body["num_published"] > 30
    assert body["scope"] in body["nearest"]["title"]


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ((*PHI_2, "--days", "14"), "above every published run"),  # model card: 96 A100 for 14 days
        # Model card: 184,320 GPU-hours for 2T tokens.
        (("--model", "llama-2-7b", "--tokens", "2T", "--hardware", "a100-sxm4-80gb", "--gpus", "1024", "--days", "180h"), "ordinary"),
        # Technical report, table 1: 2.664M GPU-hours on 2,048 H800 for 14.8T tokens.
        (
            (
                *("--model", "deepseek-v3", "--tokens", "14.8T", "--seq-len", "4096"),
                *("--hardware", "h800-sxm5-80gb", "--gpus", "2048", "--days", "1300h"),
            ),
            "ordinary",
        ),
    ],
)
def test_estimate_says_of_a_published_run_what_check_claim_says(
    words: tuple[str, ...], verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = []
    for verb in ("estimate", "check-claim"):
        assert main([verb, *words, "--format", "json"]) == 0
        bodies.append(json.loads(capsys.readouterr().out))
    estimated, claimed = bodies
    told = {
        "title",
        "verdict",
        "rows",
        "notes",
        "conditions",
        "nearest",
        *(key for key in claimed if key.startswith(("claimed_", "implied_"))),
    }
    told |= {"possible", "least_fraction", "least_wall_s", "usual_wall_s", "percentile_fraction", "num_published", "num_below", "scope"}
    assert {key: estimated[key] for key in told} == {key: claimed[key] for key in told}
    assert claimed["verdict"] == verdict


def test_an_impossible_claim_has_one_sentence_in_both_verbs(checked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = checked(*PHI_2, "--days", "9", code=1)["notes"][0]
    assert main(["estimate", *PHI_2, "--days", "9"]) == 1
    assert capsys.readouterr().err == f"error: {sentence}\n"


def test_layers_that_attend_to_images_do_nothing_in_a_claim_of_text(checked: Any) -> None:
    """Llama 3.2 11B Vision is Llama 3.1 8B, and 8 layers that attend to images beside its 32: a text is multiplied by the 32 alone."""
    words = ("--tokens", "1T", "--hardware", "h100-sxm5-80gb", "--gpus", "256", "--days", "20", "--seq-len", "4096")
    both = [checked("--model", name, *words) for name in ("llama-3.2-11b-vision", "llama-3.1-8b")]
    seen, text = (body["implied_utilization_fraction_by_convention"] for body in both)
    assert {name: seen[name] for name in ("full", "causal")} == {name: text[name] for name in ("full", "causal")}


def test_a_model_of_samples_is_compared_by_its_products(capsys: pytest.CaptureFixture[str]) -> None:
    """6·N·D takes a convolution's weights to be used once an image: 0.6 % of what it multiplies."""
    words = "estimate --model resnet-50 --tokens 1B --hardware a100-sxm4-80gb --gpus 8 --days 1 --format json"
    assert main(words.split()) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["implied_utilization_fraction"] == body["implied_utilization_fraction_by_convention"]["full"]
    assert "of peak counted full" in body["title"]


class TestStanding:
    def test_the_percentile_is_the_share_of_runs_below(self) -> None:
        for share, expected in ((0.001, 0.0), (1.0, 1.0)):
            assert percentile(share, A100, tokens=1, device_s=1.0).percentile_fraction == expected
        known = peers(A100, tokens=1, device_s=1.0)
        middle = percentile(known[len(known) // 2].share, A100, tokens=1, device_s=1.0)
        assert middle.num_below == len(known) - len(known) // 2 - 1

    def test_the_nearest_are_nearer_than_every_other(self) -> None:
        where = percentile(0.4, A100, tokens=1, device_s=1.0)
        near = where.nearest(5)
        farthest = max(abs(peer.share - 0.4) for peer in near)
        assert all(abs(peer.share - 0.4) >= farthest for peer in where.peers if peer not in near)
        assert [peer.share for peer in near] == sorted((peer.share for peer in near), reverse=True)

    def test_the_same_tokens_and_device_time_are_the_claim_itself(self) -> None:
        all_known = {peer.run.name for peer in peers(A100, tokens=1, device_s=1.0)}
        claimed = {peer.run.name for peer in peers(A100, tokens=2 * 10**12, device_s=184_320 * 3600.0)}
        assert all_known - claimed == {"Llama 2 7B"}

    def test_runs_of_low_confidence_and_mixtures_of_experts_are_no_peers(self) -> None:
        every = peers(None, tokens=1, device_s=1.0)
        assert all(peer.run.active_params is None and peer.run.confidence != "low" for peer in every)
        assert not {"Phi-2", "DeepSeek-V2"} & {peer.run.name for peer in every}


@given(days=st.floats(0.5, 500), devices=st.integers(1, 10_000))
@settings(deadline=None, max_examples=40)
def test_more_days_or_devices_never_raise_the_share(days: float, devices: int) -> None:
    model = registered("gpt2")

    def share(factor: int) -> float:
        claim = check_claim(model, tokens=10**12, seq_len=1024, hardware=A100, num_devices=devices * factor, wall_s=days * DAY_S)
        return claim.percentile.share

    assert share(2) == pytest.approx(share(1) / 2)


def test_the_verdict_follows_the_share_down_the_published_runs() -> None:
    model = registered("llama-2-7b")
    ranks = [
        "impossible",
        "above every published run",
        "among the fastest tenth",
        "ordinary",
        "among the slowest tenth",
        "below every published run",
    ]
    verdicts = [
        check_claim(model, tokens=10**12, seq_len=4096, hardware=A100, num_devices=512, wall_s=days * DAY_S).verdict
        for days in range(1, 61)
    ]
    assert [ranks.index(verdict) for verdict in verdicts] == sorted(ranks.index(verdict) for verdict in verdicts)
    assert set(verdicts) >= {"impossible", "above every published run", "ordinary", "below every published run"}


@pytest.mark.parametrize("devices", [0, -1, 10**8])
def test_devices_out_of_range_are_refused_by_the_library(devices: int) -> None:
    with pytest.raises(BadValueError, match="devices is out of range"):
        check_claim(registered("gpt2"), tokens=10, seq_len=8, hardware=A100, num_devices=devices, wall_s=1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model", "phi-2", "--tokens", "1.4T", "--hardware", "a100-sxm4-80gb", "--gpus", "96"],
            "the following arguments are required: --days",
        ),
        ([*PHI_2, "--days", "0"], "days '0' is out of range"),
        ([*PHI_2, "--days", "14", "--dtype", "fp8"], "a100-sxm4-80gb has no published dense peak for fp8"),
        ([*PHI_2[:-1], "0", "--days", "14"], "gpus '0' is out of range"),
        (["--model", "phi-2", "--tokens", "1", "--hardware", "a101", "--gpus", "1", "--days", "1"], "unknown GPU 'a101'"),
    ],
)
def test_a_wrong_request_is_one_line_and_exits_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-claim", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
