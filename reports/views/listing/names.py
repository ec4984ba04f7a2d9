"""The names that the verbs take, with what one needs to choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from estimators.counting.conventions import CONVENTIONS
from estimators.facts.entries import PEAK_DTYPES
from estimators.facts.registry import model_aliases
from estimators.spec import Hardware
from estimators.units import format_byte_rate, format_bytes, format_carbon, format_flop_rate, format_int
from reports.table import Column, Table, Value
from reports.views.training import track_record
from reports.views.training.conditions import COUNTED_BY_6ND

if TYPE_CHECKING:
    from estimators.facts.electricity import Grid
    from estimators.facts.entries import ModelEntry
    from estimators.training.layouts.launchers.keys import Keys

SHOWN_DTYPES = ("fp32", "bf16", "fp16", "fp8")
"""Peaks that people read; csv and json have all."""


def names_table(title: str, key: str, described: Mapping[str, str]) -> Table:
    """Names with one line each."""
    return Table(
        title=title,
        columns=[Column(key=key, header=key), Column(key="description", header="what it is")],
        rows=[{key: name, "description": text} for name, text in described.items()],
    )


def grids_table(grids: Sequence[Grid]) -> Table:
    """Countries and what their electricity emits."""
    rows: list[dict[str, Value]] = [
        {"country": each.code, "name": each.name, "carbon_kg_per_j": each.carbon.value, "year": each.year} for each in grids
    ]
    source = grids[0].carbon.source
    return Table(
        title=f"{len(rows)} countries: CO2 equivalent of a kilowatt-hour",
        columns=[
            Column(key="country", header="country"),
            Column(key="name", header="name"),
            Column(key="carbon_kg_per_j", header="CO2e", format=format_carbon, align="right"),
            Column(key="year", header="year", align="right"),
        ],
        rows=rows,
        notes=[f"{source}. {source.note}"],
    )


def file_keys_table(keys: Mapping[str, Keys], whose: str) -> Table:
    """What `--from` makes of each key of a file.

    Args:
        keys: launcher or format -> its keys.
        whose: files they are, such as ``launchers' files``.
    """
    rows: list[dict[str, Value]] = [
        {"key": key, "launcher": launcher, "meaning": meaning, "more": more}
        for launcher, known in keys.items()
        for key, meaning, more in known.meanings()
    ]
    return Table(
        title=f"Keys of {whose}: read; refused, unless it is turned off; noted, where it is not what is priced; harmless",
        columns=[
            Column(key="key", header="key"),
            Column(key="launcher", header="launcher"),
            Column(key="meaning", header="what --from makes of it"),
            Column(key="more", header="why, or what is priced"),
        ],
        rows=rows,
        notes=["* stands for any text. A key that is not here is named in the answer."],
    )


def conventions_table() -> Table:
    """The named conventions of counting FLOP."""
    rows: list[dict[str, Value]] = [{"convention": c.name, "includes": c.includes, "used_by": c.used_by} for c in CONVENTIONS.values()]
    rows.append({"convention": "6nd", "includes": f"{COUNTED_BY_6ND}; whole trainings only", "used_by": "Kaplan et al. 2020, GPT-3 paper"})
    return Table(
        title="Conventions of counting FLOP; one multiply-add is two FLOP in all of them",
        columns=[
            Column(key="convention", header="convention"),
            Column(key="includes", header="includes"),
            Column(key="used_by", header="used by"),
        ],
        rows=rows,
    )


def models_table(models: Sequence[tuple[ModelEntry, int, int]]) -> Table:
    """Every model of the registry.

    Args:
        models: entry, parameters by the op table, longest sequence (1 for models without sequences).
    """
    aliases: dict[str, list[str]] = {}
    for alias, model in model_aliases().items():
        aliases.setdefault(model, []).append(alias)
    rows: list[dict[str, Value]] = [
        {
            "model": entry.id,
            "name": entry.name,
            "family": entry.config["model_type"],
            "params": params,
            "published_params": entry.published_params_text,
            "max_seq_len": longest,
            "checkpoint": entry.checkpoint,
            "aliases": "|".join(aliases.get(entry.id, ())) or None,
            "source": str(entry.source),
        }
        for entry, params, longest in models
    ]
    return Table(
        title=f"{len(rows)} models; any other of these families: --config path/to/config.json",
        columns=[
            Column(key="model", header="model"),
            Column(key="name", header="name"),
            Column(key="family", header="family"),
            Column(key="params", header="parameters", format=format_int, align="right"),
            Column(key="published_params", header="published", align="right"),
            Column(key="max_seq_len", header="longest sequence", format=format_int, align="right"),
            Column(key="checkpoint", header="checkpoint", raw=True),
            Column(key="aliases", header="other names", raw=True),
            Column(key="source", header="source", raw=True),
        ],
        rows=sorted(rows, key=lambda row: int(str(row["params"]))),
        notes=["parameters: by the op table, tied weights once; published: as printed in the source (csv and json have it)."],
    )


def hardware_table(devices: Sequence[Hardware]) -> Table:
    """Every device of the registry."""
    rows: list[dict[str, Value]] = [
        {
            "hardware": device.id,
            "name": device.name,
            "vendor": device.vendor,
            "architecture": device.architecture,
            **{f"{dtype}_flop_per_s": device.peak_flop_per_s.get("mxfp4" if dtype == "fp4" else dtype) for dtype in PEAK_DTYPES},
            "memory_bytes": device.memory_bytes,
            "memory_bytes_per_s": device.memory_bytes_per_s,
            "link_bytes_per_s": device.link_bytes_per_s,
            "pcie_bytes_per_s": device.pcie_bytes_per_s,
            "power_w": device.power_w,
            **track_record.cells("device", device.id),
            "one_device": device.one_device or None,
            "devices_per_node": device.devices_per_node,
            "device_names": "|".join(device.device_names),
            "confidence": device.confidence,
            "source": str(device.source),
        }
        for device in devices
    ]
    return Table(
        title=f"{len(rows)} devices: dense peaks, fp32 accumulate; a dash is unpublished or absent",
        columns=[
            Column(key="hardware", header="device"),
            *(Column(key=key, header=key, raw=True) for key in ("name", "vendor", "architecture")),
            *(
                Column(key=f"{dtype}_flop_per_s", header=dtype, format=format_flop_rate, align="right", raw=dtype not in SHOWN_DTYPES)
                for dtype in PEAK_DTYPES
            ),
            Column(key="memory_bytes", header="memory", format=format_bytes, align="right"),
            Column(key="memory_bytes_per_s", header="bandwidth", format=format_byte_rate, align="right"),
            Column(key="link_bytes_per_s", header="link, one way", format=format_byte_rate, align="right"),
            Column(key="pcie_bytes_per_s", header="PCIe, one way", format=format_byte_rate, align="right", raw=True),
            Column(key="power_w", header="power", format=lambda watts: f"{watts:,.0f} W", align="right"),
            Column(key="one_device", header="one device is"),
            *track_record.COLUMNS,
            *(Column(key=key, header=key, raw=True) for key in ("devices_per_node", "device_names", "confidence", "source")),
        ],
        rows=rows,
        notes=["track record: measured steps, each left out of the fit that predicted it: how many, median error, share in the interval."],
        kind="published",
    )
