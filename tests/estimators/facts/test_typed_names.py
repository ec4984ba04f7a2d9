"""Names that strangers type, written down before the code was tried on them: each is understood, or refused where nothing here is it.

typed_models.csv: repositories of the hub of 2023 to 2026, tags of Ollama, names as papers and mails have them; no model_id where it is
not shipped. typed_devices.csv: what vendors, drivers, schedulers and clouds print; no hardware_id where it is not known.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from estimators.errors import RequestError, UnknownNameError
from estimators.facts.device_names import device_named
from estimators.facts.model_names import model_named

HERE = Path(__file__).parent


def rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


MODELS = {row["name"]: row["model_id"] for row in rows("typed_models.csv")}
DEVICES = {row["name"]: (row["hardware_id"], row["num_devices"]) for row in rows("typed_devices.csv")}


@pytest.mark.parametrize("name", [name for name, model_id in MODELS.items() if model_id])
def test_a_models_name_means_its_shape(name: str) -> None:
    assert model_named(name).model_id == MODELS[name]


@pytest.mark.parametrize("name", [name for name, model_id in MODELS.items() if not model_id])
def test_a_model_that_is_not_shipped_is_refused_with_the_next_step(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean|hf download|has published no shape") as caught:
        model_named(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name, (hardware_id, _) in DEVICES.items() if hardware_id])
def test_a_devices_name_means_the_product_and_how_many(name: str) -> None:
    taken = device_named(name)
    assert (taken.hardware_id, str(taken.num_devices or "")) == DEVICES[name]


@pytest.mark.parametrize("name", [name for name, (hardware_id, _) in DEVICES.items() if not hardware_id])
def test_a_device_that_is_not_known_is_refused_with_the_next_step(name: str) -> None:
    with pytest.raises(RequestError, match=r"FILE\.json|may be short for|may be one of several|python -m bench doctor") as caught:
        device_named(name)
    assert "\n" not in str(caught.value)


def test_the_lists_are_of_hundreds() -> None:
    assert len(MODELS) >= 400
    assert len(DEVICES) >= 350
