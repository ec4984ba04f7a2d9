"""What a diffusion pipeline does to make an image or a video: its parts, how often each runs, and FLOP."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.architectures.pipeline import Pipeline, Run
from estimators.counting.estimate import count_params, estimate
from estimators.frozen import replace
from estimators.spec import Case
from estimators.units import format_bytes, format_flop, format_fraction, format_int
from reports.table import Column, Table, Value
from reports.views.training.conditions import convention_line


def generation_table(
    pipeline: Pipeline, runs: Sequence[Run], *, batch: int, steps: int, guidance: bool, known: tuple[str, int] | None
) -> Table:
    """One row per part, the last row their sum.

    Args:
        runs: of one image or video.
        batch: of them that are made at once; each figure is of all of them.
        known: who else counted the parameters of all parts, and how many; None where nobody did.
    """
    rows: list[dict[str, Value]] = []
    for run in runs:
        workload = replace(run.workload, batch=batch)
        cost = estimate(Case(model=run.model, workload=workload))
        rows.append(
            {
                "part": run.part,
                "class": run.model.runs or None,
                "params": count_params(run.model.ops(workload)),
                "once_flop": cost.flop["full"],
                "times": run.times,
                "flop": cost.flop["full"] * run.times,
            }
        )
    total = sum(int(str(row["flop"])) for row in rows)
    params = sum(int(str(row["params"])) for row in rows)
    dtype, weights = runs[0].workload.dtype, [run.workload.bytes_of(int(str(row["params"]))) for run, row in zip(runs, rows, strict=True)]
    for row in rows:
        row["flop_fraction"] = int(str(row["flop"])) / total
    rows.append({"part": "total", "params": params, "flop": total, "flop_fraction": 1.0})
    denoiser = pipeline.denoiser
    kind, sides = ("video", (denoiser.latent_frames, *denoiser.latent)) if denoiser.frames else ("image", denoiser.latent)
    latent = " x ".join(format_int(side) for side in sides)
    what = f"{'an' if kind == 'image' else 'a'} {kind}" if batch == 1 else f"{format_int(batch)} {kind}s"
    alone = denoiser.one_pass
    free = "each step runs the denoiser with the text or class and without (classifier-free guidance)" if guidance else "no guidance"
    if alone:
        free = f"one pass a step{', --guidance or not' if guidance else ''}: {alone}"
    return Table(
        title=f"Making {what} with {pipeline.name}: {format_flop(total)}, {format_int(params)} parameters",
        conditions=[
            f"{denoiser.sample}, a latent of {latent}; {format_int(steps)} denoising steps; {free}",
            convention_line("full"),
            f"configuration: {pipeline.source}",
            "parameters are of what runs: of the autoencoder its decoder",
            f"weights in {dtype}: {format_bytes(sum(weights))} of all parts, {format_bytes(max(weights))} the largest; activations on top",
            *([f"{known[0]}, with the whole autoencoder: {format_int(known[1])} parameters"] if known else []),
        ],
        columns=[
            Column(key="part", header="part"),
            Column(key="class", header="class"),
            Column(key="params", header="parameters", format=format_int, align="right"),
            Column(key="once_flop", header="FLOP, once", format=format_flop, align="right"),
            Column(key="times", header="runs", format=format_int, align="right"),
            Column(key="flop", header="FLOP", format=format_flop, align="right"),
            Column(key="flop_fraction", header="share", format=format_fraction, align="right"),
        ],
        rows=rows,
        facts={
            "model": pipeline.name,
            "params": params,
            "weight_bytes": sum(weights),
            "generation_flop": total,
            "denoising_steps": steps,
            "guidance": guidance,
            "passes_per_step": 2 if guidance and not alone else 1,
            "image_height": pipeline.image.height,
            "image_width": pipeline.image.width,
            "frames": denoiser.frames or None,
        },
        key="generation",
        kind="counted",
    )
