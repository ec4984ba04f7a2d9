"""The answer of a load: latencies by their definitions, the four rates, and what was in flight; of a simulation, price-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from estimators.frozen import field, frozen
from estimators.serving.simulate import Simulation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFINITIONS = {
    "queue_s": "from the arrival of a request to the step that it is let in to",
    "ttft_s": "time to first token: from the arrival of a request to its first token",
    "itl_s": "inter-token latency: from a token to the next one, over all tokens; those of one step of speculation share its time",
    "tpot_s": "time per output token: (e2e - ttft) / (output tokens - 1) of a request, over the requests with two tokens at least",
    "e2e_s": "end to end: from the arrival of a request to its last token",
}
"""What each latency is; measured tools mean the same by these names, or say otherwise."""


@frozen
class Spread:
    """A latency over requests, or over tokens.

    Attributes:
        mean, p50, p90, p99, most: seconds.
    """

    mean: float
    p50: float
    p90: float
    p99: float
    most: float


@frozen
class LoadAnswer:
    """What a deployment does under a load; the lowest and the highest of what is likely stand in answers of their own.

    Attributes:
        load: in words.
        num_answered, num_refused: requests; who can never fit is refused.
        num_gpus: of the replica.
        duration_s: from the first arrival to the last token.
        latencies: by their names in DEFINITIONS; None where no request has such a one.
        output_tokens_per_s, prompt_tokens_per_s: of the replica over the duration.
        running: requests between their first and their last token, mean over the duration: the running batch.
        in_flight: requests between arrival and last token, likewise.
        most_running: that decoded in one step.
        most_blocks_share: of the blocks of the cache, those that were held at once at most.
        num_pushed_out: times that a request gave way because blocks ran out.
        reread_share: of the prompt tokens that were read, those of requests that had given way.
        steps: (second, sequences that decode, prompt tokens of the step) at each change.
        assumed: in words.
    """

    load: str
    num_answered: int
    num_refused: int
    num_gpus: int
    duration_s: float
    latencies: dict[str, Spread | None] = field(hash=False)
    output_tokens_per_s: float
    prompt_tokens_per_s: float
    running: float
    in_flight: float
    most_running: int
    most_blocks_share: float
    num_pushed_out: int
    reread_share: float
    steps: tuple[tuple[float, int, int], ...] = field(hash=False)
    assumed: tuple[str, ...] = ()

    @property
    def output_tokens_per_s_per_gpu(self) -> float:
        """Of each device."""
        return self.output_tokens_per_s / self.num_gpus

    @property
    def output_tokens_per_s_per_user(self) -> float | None:
        """That a user sees once his answer comes: 1 / mean ITL; None where no answer has two tokens."""
        itl = self.latencies["itl_s"]
        return 1 / itl.mean if itl else None

    @property
    def requests_per_s(self) -> float:
        """Answered over the duration."""
        return self.num_answered / self.duration_s

    def beyond(self, **limits: float | None) -> list[str]:
        """Latencies whose mean is more than a limit of that name allows."""
        means = {name: spread.mean for name, spread in self.latencies.items() if spread}
        return [name for name, limit in limits.items() if limit is not None and means.get(name, 0.0) > limit]


def load_answer(simulation: Simulation, num_gpus: int, assumed: Sequence[str] = ()) -> LoadAnswer:
    """A simulation in figures."""
    import numpy as np

    stamps, lengths = simulation.stamps, np.array(simulation.stamps.lengths)
    kept = ~np.isnan(stamps.last_token_s)
    arrival_s, scheduled_s, first_s, last_s = (
        np.array(values)[kept] for values in (stamps.arrival_s, stamps.scheduled_s, stamps.first_token_s, stamps.last_token_s)
    )
    prompts, answers = lengths[kept, 0], lengths[kept, 1]
    several = answers > 1
    duration_s = float(last_s.max() - arrival_s.min())
    found = sum(stamps.found_of(int(prompt)) for prompt in prompts)
    return LoadAnswer(
        load=simulation.requests.source,
        num_answered=int(kept.sum()),
        num_refused=len(simulation.refused),
        num_gpus=num_gpus,
        duration_s=duration_s,
        latencies={
            "queue_s": _spread(scheduled_s - arrival_s),
            "ttft_s": _spread(first_s - arrival_s),
            "itl_s": _spread(np.array(stamps.gap_s), np.array(stamps.gap_tokens)),
            "tpot_s": _spread((last_s - first_s)[several] / (answers[several] - 1)),
            "e2e_s": _spread(last_s - arrival_s),
        },
        output_tokens_per_s=float(answers.sum()) / duration_s,
        prompt_tokens_per_s=float(prompts.sum()) / duration_s,
        running=float((last_s - first_s).sum()) / duration_s,
        in_flight=float((last_s - arrival_s).sum()) / duration_s,
        most_running=max(stamps.step_decoding),
        most_blocks_share=max(stamps.step_held_blocks) / simulation.blocks,
        num_pushed_out=stamps.num_pushed_out,
        reread_share=1 - (int(prompts.sum()) - found) / max(1, stamps.read_tokens),
        steps=tuple(zip(stamps.step_start_s, stamps.step_decoding, stamps.step_read, strict=True)),
        assumed=tuple(assumed),
    )


def _spread(values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Spread | None:
    """Mean and percentiles. Between two requests a percentile is interpolated, as load generators do; of tokens it is the least time
    that such a share of them does not pass."""
    import numpy as np

    if not len(values):
        return None
    shares = (0.5, 0.9, 0.99)
    if weights is None:
        mean, parts = float(values.mean()), np.quantile(values, shares)
    else:
        order = np.argsort(values, kind="stable")
        until = np.cumsum(weights[order])
        mean = float((values * weights).sum() / until[-1])
        parts = values[order][np.minimum(np.searchsorted(until, np.array(shares) * until[-1]), len(values) - 1)]
    p50, p90, p99 = (float(part) for part in parts)
    return Spread(mean=mean, p50=p50, p90=p90, p99=p99, most=float(values.max()))
