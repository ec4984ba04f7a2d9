"""InferenceX's agg_*.json: one point, its rates by GPU, its latencies in seconds. `tput_per_gpu` counts prompt and output.

Source: InferenceX, utils/process_result.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from estimators.serving.results import vllm
from estimators.serving.results.format import Format, one, only
from estimators.serving.results.place import Place
from estimators.serving.results.result import Figure, Load, Served, ServingResult

_PER_GPU = {
    "tput_per_gpu": "total_tokens_per_s_per_gpu",
    "output_tput_per_gpu": "output_tokens_per_s_per_gpu",
    "input_tput_per_gpu": "prompt_tokens_per_s_per_gpu",
}


def _read(places: Sequence[Place]) -> list[ServingResult]:
    place = only(places, "one point")
    is_apart = bool(place.values.get("disagg")) and str(place.values.get("disagg")).lower() != "false"
    decoding, reading = place.count("num_decode_gpu"), place.count("num_prefill_gpu")
    num_gpus = decoding + reading if decoding and reading else place.count("tp")
    figures: list[Figure] = [figure for key, quantity in _PER_GPU.items() for figure in one(quantity, place.number(key))]
    figures += vllm.figures(place)
    for statistic in ("mean", "median"):
        figures += one("output_tokens_per_s_per_user", place.number(f"{statistic}_intvty"), statistic)
    output_per_gpu, gpus = place.number("output_tput_per_gpu"), (decoding if is_apart else num_gpus)
    if output_per_gpu is not None and gpus:
        figures += one("output_tokens_per_s", output_per_gpu * gpus)
    speculation = place.text("spec_decoding").lower() or place.text("mtp").lower()
    return [
        ServingResult(
            file_format=FORMAT.name,
            client="InferenceX",
            served=Served(
                model=place.text("model"),
                hardware=place.text("hw"),
                engine=" ".join(filter(None, [place.text("framework"), place.text("image")])),
                num_gpus=num_gpus,
                tp=place.count("decode_tp") if is_apart else place.count("tp"),
                ep=place.count("decode_ep") if is_apart else place.count("ep"),
                weights=place.text("precision"),
                accepted_len=1.0 if speculation in ("none", "off", "false") else None,
                is_disaggregated=is_apart,
            ),
            load=Load(
                kind="closed",
                concurrency=place.count("conc"),
                prompt_tokens=place.number("isl"),
                output_tokens=place.number("osl"),
            ),
            figures=tuple(figures),
        )
    ]


def _is_of(rows: Sequence[dict[str, Any]]) -> bool:
    return len(rows) == 1 and {"hw", "conc", "tput_per_gpu"} <= rows[0].keys()


FORMAT = Format(name="inferencex", about="InferenceX's agg_*.json", is_of=_is_of, read=_read)
