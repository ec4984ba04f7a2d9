"""Fit the constants of served steps on all rows that ship, without each source and without each machine, and write serving_constants.json
and serving_record.json in estimators/facts/data.

python -m tools.fit_serving

Logarithms of predictions over measured figures, linearised anew in each round; every constant is held by its prior, each source weighs
as its rows' root beyond some hundred, and errors beyond an eighth count less and less. A fit without a source starts from the fit on
all, whose linearisation it uses. Takes about three minutes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estimators.cost.array_math import Lane
from estimators.facts import data
from estimators.serving.constants import FIRST_TOKEN_CONSTANTS, constants_file, port_of, serving_constants
from estimators.serving.figures import figures
from estimators.serving.first_token import first_token
from estimators.serving.refit import Observation, Prior, fitted, linearised, solved
from estimators.serving.step import StepLaw, step_law
from estimators.validation.serving_case import INFERENCEX, ServingCase
from estimators.validation.serving_rows import shipped_rows, speculating
from tools import fit_first_token, serving_record

SCALE = 0.12
"""Of a logarithm: errors beyond count less and less. As large as what two honest sources differ by."""

ENOUGH = 150
"""Rows of one source and quantity that weigh in full; of more, each weighs less, unless they are of engines that people run today."""

ROUNDS, AGAIN = 7, 2
"""Linearisations of the fit to all rows, and of one without a machine, which moves constants far."""

STEP_QUANTITIES = ("prefill_s", "decode_s", "generation_s", "tpot_s", "itl_s")
"""What steps are fitted to."""

SELDOM = dict.fromkeys(("llama-cpp", "tgi", "deepspeed", "transformers", "fastertransformer", "gpt-fast"), 0.3)
"""Engines whose hosts and kernels scatter -> weight of their rows."""

YOUNG = 0.1
"""Weight of rows of young ports."""

Row = tuple[ServingCase, Observation]


def rows() -> list[Row]:
    """Every figure that steps are fitted to."""
    shipped = [row for row in shipped_rows() if row.case is not None]
    doubtful = speculating([row.case for row in shipped if row.case])
    found: list[tuple[ServingCase, str]] = []
    for row in shipped:
        case = row.case
        if case is None or case.id in doubtful:
            continue
        names = [name for name in STEP_QUANTITIES if name in case.measured and name not in row.refused]
        if "decode_s" in names and "generation_s" in names:
            names.remove("generation_s")
        found += [(case, name) for name in names]
    numbers: dict[tuple[str, str], int] = {}
    for case, name in found:
        numbers[case.source, name] = numbers.get((case.source, name), 0) + 1
    return [(case, _observation(case, name, numbers[case.source, name])) for case, name in found]


def _observation(case: ServingCase, name: str, number: int) -> Observation:
    enough = number if case.deployment.engine.until == "" else ENOUGH
    weight = min(1.0, (enough / number) ** 0.5) * SELDOM.get(case.deployment.engine.id, 1.0)
    port = port_of(case.deployment.hardware.architecture, case.deployment.engine)

    def predict(law: StepLaw) -> Lane:
        return figures(case.deployment, case.asked, law)[name]

    return Observation(
        deployment=case.deployment,
        predict=predict,
        measured=case.measured[name],
        random_tokens=case.random_tokens,
        practice=f"practice.{case.source}",
        weight=weight * (YOUNG if port and not port.endswith("late") else 1.0),
    )


def priors_of(body: Mapping[str, Any], seen: Sequence[Row]) -> dict[str, Prior]:
    """Of the constants that the rows can say something of."""
    engines, practices = {case.deployment.engine.id for case, _ in seen}, {case.source for case, _ in seen}
    found = {}
    for name, constant in body["constants"].items():
        owner, _, rest = name.partition(".")
        if rest in FIRST_TOKEN_CONSTANTS or owner in ("held", "reading", "first_wave"):
            continue
        if rest and (rest not in practices if owner == "practice" else owner not in engines):
            continue
        if name.endswith("eager_layer_s") and constant["prior"] < 1e-6:
            continue
        found[name] = Prior(value=constant["prior"], spread=constant["spread"])
    return found


def main() -> int:
    """Fit, and write the data files anew."""
    body = constants_file()
    values = {name: float(constant["prior"]) for name, constant in body["constants"].items()}
    seen = rows()
    observations = [observation for _, observation in seen]
    priors = priors_of(body, seen)
    best = fitted(observations, values, priors, scale=SCALE, rounds=ROUNDS)
    linear = linearised(observations, best, list(priors))
    measured = np.log(np.array([observation.measured for observation in observations]))
    weights = np.array([observation.weight for observation in observations])
    folds = sorted({fold for case, _ in seen for fold in (case.fold, case.machine, case.source)})
    without = {}
    for fold in folds:
        kept = np.array([fold not in (case.fold, case.machine, case.source) for case, _ in seen])
        found = solved(linear, measured, weights * kept, best, priors, scale=SCALE)
        if fold.startswith(INFERENCEX) and " part " not in fold:
            left = [observation for observation, is_kept in zip(observations, kept, strict=True) if is_kept]
            found = fitted(left, found, priors, scale=SCALE, rounds=AGAIN)
        without[fold] = {name: _rounded(found[name]) for name in priors if _rounded(found[name]) != _rounded(best[name])}
        if fold == INFERENCEX or fold in {case.source for case, _ in seen}:
            without[fold][f"practice.{fold}"] = 1.0
    for name in body["constants"]:
        body["constants"][name]["value"] = _rounded(best[name])
    body["without"] = without
    write(body)
    cases = [row.case for row in shipped_rows() if row.case is not None]
    seen_firsts = fit_first_token.firsts(cases)
    for name, value in fit_first_token.fit(seen_firsts, body["constants"]).items():
        body["constants"][name]["value"] = value
    for fold, changed in without.items():
        if fold in {case.source for case in cases}:
            changed |= fit_first_token.fit(seen_firsts, body["constants"], fold)
    for name, value in fit_first_token.energy(cases, body["energy"]).items():
        body["energy"][name]["value"] = value
    write(body)
    serving_record.write()
    return 0


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def write(body: Mapping[str, Any]) -> None:
    """The data file anew, and what was read of it forgotten."""
    with open(data.file("serving_constants.json"), "w", encoding="utf-8") as stream:
        json.dump(body, stream, indent=1)
        stream.write("\n")
    for cached in (constants_file, serving_constants, step_law, first_token):
        cached.cache_clear()


if __name__ == "__main__":
    sys.exit(main())
