"""What tokens of a deployment cost: dollars per million from rent and rates, and against the price of an API."""

from __future__ import annotations

from estimators.errors import BadValueError
from estimators.frozen import frozen

SECONDS_PER_HOUR = 3600
MILLION = 10**6


def usd_per_million(usd_per_gpu_hour: float, num_gpus: int, tokens_per_s: float, utilization: float = 1.0) -> float:
    """Dollars for a million tokens: price per hour · GPUs / (tokens/s · 3,600 · utilization) · 10^6.

    An H200 at $7.912 that writes 1,972 tokens/s, and a device at $4.1425 with 844:

    >>> f"{usd_per_million(7.912, 1, 1972):.2f} {usd_per_million(4.1425, 1, 844):.2f}"
    '1.11 1.36'

    Args:
        utilization: share of the time that the deployment is as loaded as the rate says; rent runs on in the rest.

    Raises:
        BadValueError: a share that is not above 0, up to 1.
    """
    if not 0 < utilization <= 1:
        raise BadValueError(f"a utilization of {utilization:g}; expected above 0, at most 1")
    return usd_per_gpu_hour * num_gpus / (tokens_per_s * SECONDS_PER_HOUR * utilization) * MILLION


@frozen
class ApiPrice:
    """What somebody else asks for a million tokens."""

    usd_per_million_input: float
    usd_per_million_output: float

    def usd_per_request(self, input_tokens: float, output_tokens: float) -> float:
        """For a prompt and its answer."""
        return (self.usd_per_million_input * input_tokens + self.usd_per_million_output * output_tokens) / MILLION


@frozen
class TokenPrice:
    """Dollars for a million tokens at one load.

    Attributes:
        output_usd: all rent on the output tokens, as rates per output token are usually turned into money.
        blended_usd: on prompt and output tokens alike.
        input_part_usd, output_part_usd: the rent of the time that reading prompts adds, on prompt tokens; the rest on output tokens.
        break_even_fraction: share of the time that the deployment must be as loaded for its rent to be what the API asks for the same
            requests; above 1 the API is cheaper at any load. None without its prices.
    """

    output_usd: float
    blended_usd: float
    input_part_usd: float | None
    output_part_usd: float
    break_even_fraction: float | None


def token_price(
    usd_per_gpu_hour: float,
    num_gpus: int,
    *,
    requests_per_s: float,
    input_tokens: float,
    output_tokens: float,
    prompt_share: float,
    utilization: float = 1.0,
    api: ApiPrice | None = None,
) -> TokenPrice:
    """The price of tokens at a load. Raises BadValueError as `usd_per_million`.

    Args:
        requests_per_s: answered by the deployment.
        prompt_share: of the time, what reading prompts adds.
    """

    def price(tokens: float, share: float = 1.0) -> float:
        return share * usd_per_million(usd_per_gpu_hour, num_gpus, requests_per_s * tokens, utilization)

    rent_per_s = usd_per_gpu_hour * num_gpus / SECONDS_PER_HOUR
    asked = api.usd_per_request(input_tokens, output_tokens) if api else 0.0
    return TokenPrice(
        output_usd=price(output_tokens),
        blended_usd=price(input_tokens + output_tokens),
        input_part_usd=price(input_tokens, prompt_share),
        output_part_usd=price(output_tokens, 1 - prompt_share),
        break_even_fraction=rent_per_s / (requests_per_s * asked) if asked else None,
    )
