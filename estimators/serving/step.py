"""The step of a served model: one function of what it decodes and reads, by what takes the time, and the bound that nothing beats."""

from __future__ import annotations

import functools

from estimators.cost.array_math import Lane, choose, greater, log2, smaller
from estimators.frozen import frozen, replace
from estimators.serving.constants import ServingConstants, is_late, serving_constants
from estimators.serving.deployment import Deployment
from estimators.serving.device_work import DeviceExperts, DeviceWork, device_work
from estimators.serving.step_batch import StepBatch

FLOOR_SHARPNESS = 8
"""How sharply a step goes from device-bound to issue-bound: the greater of the two, a little rounded."""


@frozen
class StepTime:
    """Seconds of one step by what takes them; they sum to the step.

    Attributes:
        weights_s: products of every token with the matrices of layers: reading them, or the arithmetic.
        experts_s: the same of the experts that some token is sent to.
        head_s: the same of the head, for tokens that are written.
        cache_s: decode attention: reading keys and values, or the arithmetic.
        attention_s: attention of the prompt tokens.
        elements_s: element-wise work.
        launch_s: starts of kernels in a recorded graph.
        collectives_s: all-reduces, routing to experts on other devices, and ends of pipeline stages.
        floor_s: what the device waits for kernels to be issued where no graph is replayed.
        drafts_s: making a draft.
        step_s, sequences_s: the host's, for the step and for the sequences in it.
        compute_bound_s, bandwidth_bound_s: least arithmetic over the rated peaks, least bytes over the rated bandwidth.
    """

    weights_s: Lane
    experts_s: Lane
    head_s: Lane
    cache_s: Lane
    attention_s: Lane
    elements_s: Lane
    launch_s: Lane
    collectives_s: Lane
    floor_s: Lane
    drafts_s: Lane
    step_s: Lane
    sequences_s: Lane
    compute_bound_s: Lane
    bandwidth_bound_s: Lane

    @property
    def total_s(self) -> Lane:
        """The whole step."""
        device_s = self.weights_s + self.experts_s + self.head_s + self.cache_s + self.attention_s + self.elements_s + self.launch_s
        return device_s + self.collectives_s + self.floor_s + self.drafts_s + self.step_s + self.sequences_s

    @property
    def bound_s(self) -> Lane:
        """What no device can beat."""
        return greater(self.compute_bound_s, self.bandwidth_bound_s)

    @property
    def bound_by(self) -> str:
        """Of a single step: compute or bandwidth."""
        return "compute" if self.compute_bound_s > self.bandwidth_bound_s else "bandwidth"

    @property
    def parts(self) -> dict[str, Lane]:
        """Name of a part to its seconds, the bounds left out."""
        return {name: getattr(self, name) for name in PARTS}


PARTS: tuple[str, ...] = tuple(name for name in StepTime._fields if "bound" not in name)  # type: ignore[attr-defined]
"""Parts of a step, in order."""


@frozen
class CacheSeconds:
    """Of one kind of attention: for one key of one sequence, reading and arithmetic; for one pair of a prompt's; and the least of each."""

    window: Lane
    read_s: Lane
    decode_s: Lane
    prefill_s: Lane
    least_read_s: Lane
    least_decode_s: Lane
    least_prefill_s: Lane


@frozen
class ExpertSeconds:
    """Of one kind of experts: reading all of them, and the arithmetic of one token of the replica; and the least of each."""

    spread: Lane
    read_s: Lane
    token_s: Lane
    least_read_s: Lane
    least_token_s: Lane


@frozen
class StepLaw:
    """The seconds of a deployment's step as a function of its batch. Fields are seconds: of a step, for each token, or for each sequence.

    Attributes:
        stored_read_s, stored_token_s, plain_read_s, plain_token_s, head_read_s, head_token_s: of matrices; see `DeviceWork`.
        least_read_s, least_token_s, least_head_token_s: of all matrices that a step must read, at the rated figures.
        state_s, element_s: of each sequence's recurrent state, and of each token's element-wise work.
        launch_s, eager_s, floor_s: of all layers.
        reduce_step_s, reduce_token_s, routed_s: of collectives: a step's, and for each token; of the replica's in the last.
        draft_share: of the layers, what makes one draft token.
        groups, stages: that share out sequences.
        drafts: tokens of a draft, which a decode step verifies beside the next one.
    """

    knee: Lane
    popularity: Lane
    stored_read_s: Lane
    stored_token_s: Lane
    plain_read_s: Lane
    plain_token_s: Lane
    head_read_s: Lane
    head_token_s: Lane
    least_read_s: Lane
    least_token_s: Lane
    least_head_token_s: Lane
    caches: tuple[CacheSeconds, ...]
    experts: tuple[ExpertSeconds, ...]
    state_s: Lane
    least_state_s: Lane
    element_s: Lane
    launch_s: Lane
    eager_s: Lane
    floor_s: Lane
    reduce_step_s: Lane
    reduce_token_s: Lane
    routed_s: Lane
    step_s: Lane
    sequence_s: Lane
    draft_share: Lane
    groups: Lane
    stages: Lane
    drafts: Lane

    def time(self, batch: StepBatch) -> StepTime:
        """One step, or as many side by side as the batch has lanes.

        One product serves all tokens of the step, decoded and read ones alike. Sequences are shared out evenly over groups of attention
        and over pipeline stages; a group or stage without a whole one waits for those with.
        """
        verified = 1 + self.drafts
        prompts = greater(batch.prompts, 1)
        sequences, prompts_read = _shared_out(batch.decoding, self.stages), _shared_out(batch.prompts, self.stages)
        prompt_tokens = batch.prompt_tokens / smaller(prompts, self.stages)
        n, read = _shared_out(sequences, self.groups), prompt_tokens / smaller(prompts, self.groups)
        tokens, of_replica = n * verified + read, sequences * verified + prompt_tokens
        writing = n + _shared_out(prompts_read, self.groups)
        stored_s = self._product(self.stored_read_s, self.stored_token_s * tokens)
        weights_s = stored_s + self._product(self.plain_read_s, self.plain_token_s * tokens)
        logits = writing + n * self.drafts
        head_s = self._product(self.head_read_s, self.head_token_s * logits)
        experts_s, least_experts_read_s, least_experts_s = 0.0, 0.0, 0.0
        for kind in self.experts:
            met = 1 - (1 + kind.spread * of_replica) ** -self.popularity
            experts_s = experts_s + self._product(kind.read_s * met, kind.token_s * of_replica)
            least_experts_read_s = least_experts_read_s + kind.least_read_s
            least_experts_s = least_experts_s + kind.least_token_s * of_replica
        cache_s, attention_s = writing * self.state_s, 0.0
        least_cache_s, least_attention_s = n * self.least_state_s, 0.0
        for cache in self.caches:
            keys = n * smaller(batch.context_tokens + 1, cache.window)
            seen = read * _seen(batch.prompt_context, cache.window)
            cache_s = cache_s + self._product(cache.read_s, cache.decode_s * verified) * keys
            attention_s = attention_s + cache.prefill_s * seen
            least_cache_s = least_cache_s + cache.least_read_s * keys
            least_attention_s = least_attention_s + cache.least_decode_s * keys + cache.least_prefill_s * seen
        elements_s = self.element_s * tokens
        collectives_s = self.reduce_step_s + self.reduce_token_s * tokens + self.routed_s * of_replica
        device_s = weights_s + experts_s + head_s + cache_s + attention_s + elements_s + self.launch_s + collectives_s
        issue_s = greater(self.eager_s, choose(batch.prompt_tokens > 0, self.floor_s, 0.0))
        share = self.drafts * self.draft_share
        return StepTime(
            weights_s=weights_s,
            experts_s=experts_s,
            head_s=head_s,
            cache_s=cache_s,
            attention_s=attention_s,
            elements_s=elements_s,
            launch_s=self.launch_s,
            collectives_s=collectives_s,
            floor_s=(device_s**FLOOR_SHARPNESS + issue_s**FLOOR_SHARPNESS) ** (1 / FLOOR_SHARPNESS) - device_s,
            drafts_s=share * (device_s - head_s) + self.drafts * head_s,
            step_s=self.step_s,
            sequences_s=self.sequence_s * writing,
            compute_bound_s=self.least_token_s * tokens + self.least_head_token_s * logits + least_experts_s + least_attention_s,
            bandwidth_bound_s=self.least_read_s + least_experts_read_s + least_cache_s,
        )

    def _product(self, read_s: Lane, arithmetic_s: Lane) -> Lane:
        """Reading or arithmetic, the longer of the two, longer where they are near."""
        return (read_s**self.knee + arithmetic_s**self.knee) ** (1 / self.knee)


def slower(law: StepLaw, factor: Lane) -> StepLaw:
    """A law whose every step takes longer by a factor; its bounds stay."""

    def scaled(terms: StepLaw | CacheSeconds | ExpertSeconds) -> dict[str, Lane]:
        names = (name for name in terms._fields if name.endswith("_s") and not name.startswith("least_"))  # type: ignore[union-attr]
        return {name: getattr(terms, name) * factor for name in names}

    return replace(
        law,
        **scaled(law),
        caches=tuple(replace(cache, **scaled(cache)) for cache in law.caches),
        experts=tuple(replace(kind, **scaled(kind)) for kind in law.experts),
    )


def _shared_out(sequences: Lane, ways: Lane) -> Lane:
    """Of the fullest of some ways, in the mean over steps: an even part, but never less than one sequence where there is one."""
    return greater(sequences / ways, smaller(sequences, 1))


def _seen(context: Lane, window: Lane) -> Lane:
    """Keys that a prompt's token sees in the mean, of `context` without a window: a prompt of twice as many is read whole.

    >>> _seen(500, 200), _seen(500, 4000)
    (180.0, 500)
    """
    return choose(window < 2 * context, window * (1 - window / greater(4 * context, window)), context)


@functools.lru_cache(maxsize=1024)
def step_law(deployment: Deployment, *, without: str = "", random_tokens: bool = False) -> StepLaw:
    """A deployment's step.

    Llama 3 8B in 16 bits on one H100 decodes 64 sequences of 1,000 tokens in about 10 ms:

    >>> from estimators.facts.registry import hardware
    >>> from estimators.serving.engines import engine
    >>> from estimators.validation.model import shipped_model
    >>> law = step_law(Deployment(model=shipped_model("llama-3-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm")))
    >>> 0.007 < law.time(StepBatch(decoding=64, context_tokens=1000)).total_s < 0.015
    True

    Args:
        without: a source that the constants must not have seen.
        random_tokens: whether prompts are of random tokens, as in benchmarks, which are routed to fewer experts.

    Raises:
        BadValueError: as `device_work`.
    """
    constants = serving_constants(deployment.engine, without)
    return law_of(device_work(deployment), constants, early=not is_late(deployment.engine), random_tokens=random_tokens)


def law_of(work: DeviceWork, c: ServingConstants, *, early: bool, random_tokens: bool = False) -> StepLaw:
    """The seconds of a device's work at given constants; of many constants side by side where they are arrays.

    Args:
        early: whether all-reduces are those of engines before 2025.
        random_tokens: as `step_law`.
    """
    popularity = c.popularity_random if random_tokens else c.popularity
    rated, peak16, own_peak = work.memory_bytes_per_s, work.peak16_flop_per_s, work.format_peak_flop_per_s
    port = c.port(work.port)
    memory, flop16 = rated / port, work.flop16_per_s / port
    sixteen = flop16 * c.products_16
    own = work.format_flop_per_s / port * c.products(work.kind, work.is_native)
    device_latency_s = (c.reduce_early_s if early else c.reduce_s) if work.linked else c.reduce_unlinked_s
    latency_s = device_latency_s * (1 + c.reduce_growth * (log2(greater(work.ranks, 2)) - 1))
    link, network = work.link_bytes_per_s * c.link, work.network_bytes_per_s * c.network
    inside = choose(work.near < work.ranks, smaller(link, network * work.near), link)
    routed = choose(work.experts_near < work.groups * work.ranks, network, link)
    hop = choose(work.experts_near < work.groups * work.ranks, network, link)
    return StepLaw(
        knee=c.knee,
        popularity=popularity,
        stored_read_s=work.stored_bytes / (memory * c.weights_bandwidth(work.kind)),
        stored_token_s=work.stored_flop / own,
        plain_read_s=work.plain_bytes / (memory * c.bandwidth_16),
        plain_token_s=work.plain_flop / sixteen,
        head_read_s=work.head_bytes / (memory * c.bandwidth_16),
        head_token_s=work.head_flop / sixteen,
        least_read_s=(work.stored_bytes + work.plain_bytes + work.head_bytes) / rated,
        least_token_s=work.stored_flop / own_peak + work.plain_flop / peak16,
        least_head_token_s=work.head_flop / peak16,
        caches=tuple(
            CacheSeconds(
                window=cache.window,
                read_s=cache.key_bytes / (memory * c.bandwidth_cache),
                decode_s=cache.decode_flop / (flop16 * c.attention_decode),
                prefill_s=cache.prefill_flop / (flop16 * c.attention),
                least_read_s=cache.key_bytes / rated,
                least_decode_s=cache.prefill_flop / peak16,
                least_prefill_s=cache.prefill_flop / peak16,
            )
            for cache in work.caches
        ),
        experts=tuple(_expert_seconds(kind, work, c, memory, own, popularity) for kind in work.experts),
        state_s=work.state_bytes / (memory * c.bandwidth_cache),
        least_state_s=work.state_bytes / rated,
        element_s=work.element_bytes / (memory * c.bandwidth_elements),
        launch_s=port * (work.layers * c.layer_s + work.expert_layers * c.expert_layer_s),
        eager_s=work.layers * c.eager_layer_s,
        floor_s=c.floor_layer_s * (work.layers + (c.floor_experts - 1) * work.expert_layers),
        reduce_step_s=work.reduces * latency_s + choose(work.routed_bytes > 0, 2 * work.expert_layers * latency_s, 0.0),
        reduce_token_s=work.reduce_bytes / inside + work.hop_bytes / hop,
        routed_s=work.routed_bytes / routed,
        step_s=c.step_s + work.hops * device_latency_s,
        sequence_s=c.sequence_s,
        draft_share=1 / work.layers,
        groups=work.groups,
        stages=work.stages,
        drafts=work.drafts,
    )


def _expert_seconds(
    kind: DeviceExperts, work: DeviceWork, c: ServingConstants, bytes_per_s: Lane, flop_per_s: Lane, popularity: Lane
) -> ExpertSeconds:
    slower = c.experts * c.expert_wait ** log2(greater(work.expert_ranks, 1))
    return ExpertSeconds(
        spread=kind.missed ** (-1 / popularity) - 1,
        read_s=slower * kind.num_bytes / (bytes_per_s * c.bandwidth_experts),
        token_s=slower * kind.flop / (flop_per_s * c.products_experts),
        least_read_s=kind.num_bytes / work.memory_bytes_per_s * (1 - kind.missed),
        least_token_s=kind.flop / work.format_peak_flop_per_s,
    )
