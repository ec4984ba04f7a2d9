"""Files as codecarbon writes them, with what is changed of a row."""

from __future__ import annotations

HEADER = (
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,gpu_energy,"
    "ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,python_version,"
    "codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,"
    "gpu_utilization_percent,ram_utilization_percent,ram_used_gb,on_cloud,pue,wue"
)
"""Of codecarbon 3.3.2: the fields of its EmissionsData, in their order."""

ROW = {
    "timestamp": "2026-01-31T12:00:00",
    "project_name": "tuning",
    "run_id": "a",
    "duration": "3600.0",
    "emissions": "0.0835",
    "cpu_energy": "0.05",
    "gpu_energy": "0.4",
    "ram_energy": "0.02",
    "energy_consumed": "0.47",
    "country_name": "France",
    "country_iso_code": "FRA",
    "cpu_model": "EPYC",
    "cpu_count": "64",
    "gpu_count": "8.0",
    "gpu_model": "8 x NVIDIA A100-SXM4-80GB",
    "ram_total_size": "1024.0",
    "tracking_mode": "machine",
    "pue": "1.0",
}


def emissions(*rows: dict[str, str], header: str = HEADER) -> str:
    """A file of rows that differ from ROW in what is given."""
    names = header.split(",")
    lines = [",".join((ROW | row).get(name, "") for name in names) for row in rows]
    return "\n".join([header, *lines]) + "\n"
