"""Compute-optimal sizing: the parameters and tokens that a budget of FLOP is best spent on, by Chinchilla's fits and its rule of thumb."""

from __future__ import annotations

import math

from estimators.errors import BadValueError
from estimators.frozen import frozen

TOKENS_PER_PARAM = 20
FLOP_PER_PARAM_TOKEN = 6


@frozen
class LossFit:
    """L(N, D) = E + A / N^alpha + B / D^beta, in nats per token.

    Attributes:
        source: who fitted it on what.
    """

    name: str
    irreducible: float
    a: float
    b: float
    alpha: float
    beta: float
    source: str

    def loss(self, params: float, tokens: float) -> float:
        """Nats per token."""
        nats: float = self.irreducible + self.a / params**self.alpha + self.b / tokens**self.beta
        return nats

    def optimal_params(self, flop: float) -> float:
        """N that minimises the loss under 6·N·D = C: G·(C/6)^(beta/(alpha+beta)), G = (alpha·A/(beta·B))^(1/(alpha+beta))."""
        total = self.alpha + self.beta
        scale: float = (self.alpha * self.a / (self.beta * self.b)) ** (1 / total)
        params: float = scale * (flop / FLOP_PER_PARAM_TOKEN) ** (self.beta / total)
        return params


HOFFMANN = LossFit(
    name="Chinchilla, approach 3",
    irreducible=1.69,
    a=406.4,
    b=410.7,
    alpha=0.34,
    beta=0.28,
    source="Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3, equation 10",
)
BESIROGLU = LossFit(
    name="Chinchilla, approach 3 refitted",
    irreducible=1.8172,
    a=482.01,
    b=2085.43,
    alpha=0.3478,
    beta=0.3658,
    source="Besiroglu et al. 2024 (arXiv 2404.10102): the same data, fitted to convergence",
)
FITS = (HOFFMANN, BESIROGLU)


@frozen
class Sizing:
    """One answer to a budget.

    Attributes:
        loss: nats per token under the refit; comparable between the answers.
    """

    name: str
    params: float
    tokens: float
    loss: float
    source: str


def compute_optimal(flop: float) -> tuple[Sizing, ...]:
    """Model and tokens for a budget, by the rule of 20 tokens per parameter and by both fits of approach 3.

    C = 6·N·D, so that the rule gives N = sqrt(C / 120).

    Raises:
        BadValueError: no budget.

    >>> round(compute_optimal(5.76e23)[0].params / 1e9, 1)  # Gopher's budget; table 3 of the paper says 67B for approach 1
    69.3
    """
    if not flop > 0:
        raise BadValueError(f"a budget of {flop:g} FLOP trains nothing; expected more than 0")
    params = math.sqrt(flop / FLOP_PER_PARAM_TOKEN / TOKENS_PER_PARAM)
    rule = ("20 tokens per parameter", params, "what approaches 1 and 2 come to: Hoffmann et al. 2022 (arXiv 2203.15556), table 3")
    optima = [rule, *((fit.name, fit.optimal_params(flop), fit.source) for fit in FITS)]
    return tuple(
        Sizing(name=name, params=n, tokens=(d := flop / FLOP_PER_PARAM_TOKEN / n), loss=BESIROGLU.loss(n, d), source=source)
        for name, n, source in optima
    )
