"""ServeQuestion: a deployment under a load, with limits, rent and what it is held against."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.facts.prices import PriceRange
from estimators.frozen import frozen
from estimators.serving.deployment import Deployment
from estimators.serving.own_rows import Refitted
from estimators.serving.price import MILLION, ApiPrice

MOST_USERS = 1 << 20
"""That are looked for in flight at once."""


@frozen
class ServeQuestion:
    """A deployment under a load.

    Attributes:
        input_tokens, output_tokens: of a request, in the mean.
        users: the fewest and the most in flight on one replica that are looked at.
        ttft_limit_s, itl_limit_s: the most that a mean time to first token and a mean time between tokens may be; None for no limit.
        num_users, rate_per_s: that all replicas together are to serve: requests in flight, or by the second; None for one replica.
        rent: of a device, None where no quote is known.
        utilization: share of the time that the deployment is so loaded.
        api: what somebody else asks for tokens.
        own: the deployment's constants after its own measured loads; None for the shipped ones.
    """

    deployment: Deployment
    input_tokens: int
    output_tokens: int
    users: tuple[int, int] = (1, 256)
    ttft_limit_s: float | None = None
    itl_limit_s: float | None = None
    num_users: int | None = None
    rate_per_s: float | None = None
    rent: PriceRange | None = None
    utilization: float = 1.0
    api: ApiPrice | None = None
    own: Refitted | None = None

    def __post_init__(self) -> None:
        fewest, most = self.users
        if not 1 <= fewest <= most <= MOST_USERS:
            raise BadValueError(f"{fewest:,} to {most:,} users in flight; expected from 1, at most {MOST_USERS:,}")
        if min(self.input_tokens, self.output_tokens) < 1:
            raise BadValueError(f"{self.input_tokens} prompt tokens and {self.output_tokens} of an answer; expected from 1 of each")
        if not 0 < self.utilization <= 1:
            raise BadValueError(f"a utilization of {self.utilization:g}; expected above 0, at most 1")
        if self.num_users is not None and self.rate_per_s is not None:
            raise BadValueError("users and a rate of requests; expected one of them")

    @property
    def tokens(self) -> int:
        """Of a request: prompt and answer."""
        return self.input_tokens + self.output_tokens

    @property
    def api_usd_per_million_output(self) -> float | None:
        """What somebody else asks for a request, all on its output, for a million tokens of it; None without prices."""
        if self.api is None:
            return None
        return self.api.usd_per_request(self.input_tokens, self.output_tokens) / self.output_tokens * MILLION
