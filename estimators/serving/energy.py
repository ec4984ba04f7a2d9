"""Energy of served tokens: the power of the devices over the tokens that they write."""

from __future__ import annotations

from estimators.cost.array_math import Lane
from estimators.errors import BadValueError
from estimators.serving.constants import constants_file
from estimators.serving.deployment import Deployment


def power_share(busy_share: Lane) -> Lane:
    """Share of the board's limit that a device draws: what it draws idle between steps, and more the larger the share of a step in which
    it works.

    Args:
        busy_share: of a step, what is not the host's.
    """
    constants = constants_file()["energy"]
    return constants["idle"]["value"] + (constants["busy"]["value"] - constants["idle"]["value"]) * busy_share


def energy_j_per_token(deployment: Deployment, output_tokens_per_s: Lane, busy_share: Lane) -> Lane:
    """Joules of one output token, all devices of a replica together.

    Raises:
        BadValueError: a device whose power limit is not published.
    """
    limit = deployment.hardware.power_w
    if limit is None:
        raise BadValueError(f"{deployment.hardware.id} has no published power limit; its energy is not estimated")
    return limit * deployment.num_devices * power_share(busy_share) / output_tokens_per_s
