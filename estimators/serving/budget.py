"""budget: the memory of a deployment's devices: weights, activations, and the blocks and tokens of the KV cache that are left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from estimators.errors import PhysicsError
from estimators.frozen import field, frozen, replace
from estimators.serving.activations import UNSHOWN_SHARE, Beside, beside, step_bytes_per_token
from estimators.serving.deployment import Deployment
from estimators.serving.held_weights import StageWeights, served_model, weights_by_stage
from estimators.serving.kv_cache import KvCache, kv_cache
from estimators.units import DTYPE_BYTES, format_bytes, format_int


@frozen
class Budget:
    """Memory of one device, of the pipeline stage that has the fewest blocks; tokens and sequences are the replica's.

    Attributes:
        weights: bytes by part, see held_weights.PARTS.
        activations_bytes, outside_bytes: of the largest step, and outside of the allocator; 0 where the blocks were given.
        kv_bytes, low_kv_bytes, high_kv_bytes: for the cache: as expected, and its 80 % interval; negative where weights alone are more.
        cache: what a sequence leaves on the device.
        block_tokens: of a block.
        groups: that share out sequences, each with a cache of its own.
        max_model_len: tokens of the longest sequence that the engine is to take.
        is_measured: whether the blocks were given.
    """

    deployment: Deployment
    weights: Mapping[str, float] = field(hash=False)
    activations_bytes: float
    outside_bytes: float
    kv_bytes: float
    low_kv_bytes: float
    high_kv_bytes: float
    cache: KvCache
    block_tokens: int
    groups: int
    max_model_len: int
    is_measured: bool

    @property
    def weights_bytes(self) -> float:
        """Of all parts."""
        return sum(self.weights.values())

    @property
    def kv_blocks(self) -> int:
        """Whole blocks of all layers of the device; of sequences with windows or a state, the blocks that their tokens would fill."""
        return self._blocks(self.kv_bytes)

    def blocks_at(self, tokens: int) -> int:
        """Blocks of a device where sequences have so many tokens in the mean: windows and states make them fewer or more."""
        if self.cache.is_linear:
            return self.kv_blocks
        return int(self._sequences(self.kv_bytes, tokens) / self.groups * -(-tokens // self.block_tokens))

    @property
    def kv_tokens(self) -> int:
        """Tokens that the replica has room for."""
        return self._tokens(self.kv_bytes)

    @property
    def low_tokens(self) -> int:
        """The least that it may have room for."""
        return self._tokens(self.low_kv_bytes)

    @property
    def high_tokens(self) -> int:
        """The most."""
        return self._tokens(self.high_kv_bytes)

    def concurrency(self, tokens: int | None = None) -> float:
        """Sequences of so many tokens that the replica has room for at once; where none are given of max_model_len, as engines print it."""
        return self._sequences(self.kv_bytes, tokens or self.max_model_len)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that there is room for, at most those that the model was made for."""
        low, high = 0, served_model(self.deployment).max_positions
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.concurrency(middle) >= self.groups else (low, middle - 1)
        return low

    @property
    def fits(self) -> bool:
        """Whether a sequence of max_model_len has room, which an engine demands before it starts."""
        return self.kv_bytes > 0 and self.concurrency() >= self.groups

    def _blocks(self, kv_bytes: float) -> int:
        if kv_bytes <= 0:
            return 0
        block = self.block_tokens * self.cache.token_bytes
        return int(kv_bytes // block) if self.cache.is_linear and block else self._tokens(kv_bytes) // self.groups // self.block_tokens

    def _tokens(self, kv_bytes: float) -> int:
        if self.cache.is_linear and self.cache.token_bytes:
            return self.groups * self.block_tokens * self._blocks(kv_bytes)
        return int(self._sequences(kv_bytes, self.max_model_len) * self.max_model_len)

    def _sequences(self, kv_bytes: float, tokens: int) -> float:
        if kv_bytes <= 0:
            return 0.0
        if self.cache.is_linear and self.cache.token_bytes:
            return self._tokens(kv_bytes) / tokens
        whole = -(-tokens // self.block_tokens) * self.block_tokens
        return self.groups * kv_bytes / float(self.cache.sequence_bytes(whole))


def cache_left(fraction_of: str, fraction: float, memory_bytes: float, weights_bytes: float, beside_bytes: float) -> float:
    """Bytes that an engine takes for its cache, by what its fraction of the memory is for; see Engine.

    vLLM on 23.58 GiB with a peak of 17.06 and 0.35 outside of torch:

    >>> round(cache_left("all", 0.9, 23.58, 14.9888, 17.06 - 14.9888 + 0.35), 2)
    3.81
    """
    if fraction_of == "rest":
        return fraction * (memory_bytes - weights_bytes - beside_bytes)
    return fraction * memory_bytes - weights_bytes - (beside_bytes if fraction_of == "all" else 0.0)


def budget(deployment: Deployment) -> Budget:
    """The memory of a deployment.

    Blocks that are given are taken as they are; else the cache has what the engine's fraction of the memory, weights, the activations of
    the largest step and what lies outside of the allocator leave, on the stage that has the fewest blocks.

    Raises:
        BadValueError: what `weights_by_stage` and `kv_cache` refuse.
        PhysicsError: blocks that no such device has room for.
    """
    return next(budgets(deployment, (deployment.max_num_seqs,)))


def budgets(deployment: Deployment, max_num_seqs: Iterable[int | None]) -> Iterator[Budget]:
    """The memory of a deployment under each of several batch limits. Raises as `budget`."""
    model, trims = served_model(deployment), deployment.engine.trims_windows
    stages = [
        (stage, kv_cache(model, deployment.kv, tp=deployment.tp, layers=stage.layers, trims_windows=trims))
        for stage in weights_by_stage(deployment)
    ]
    token_bytes = step_bytes_per_token(model, deployment.tp, DTYPE_BYTES[deployment.compute])
    for sequences in max_num_seqs:
        d = deployment if sequences == deployment.max_num_seqs else replace(deployment, max_num_seqs=sequences)
        around = beside(d, model.vocab, token_bytes)
        of_stages = (_of_stage(d, stage, cache, around, model.max_positions) for stage, cache in stages)
        yield next(of_stages) if len(stages) == 1 else min(of_stages, key=lambda one: (one.kv_blocks, one.kv_bytes))


def _of_stage(d: Deployment, stage: StageWeights, cache: KvCache, around: Beside, longest: int) -> Budget:
    engine = d.engine
    middle, low, high = _cache_bytes(d, stage, around)
    if d.kv_blocks is not None:
        middle = low = high = d.kv_blocks * engine.block_tokens * cache.token_bytes
        _demand_room(d, stage, middle)
    given = d.kv_blocks is not None
    return Budget(
        deployment=d,
        weights=stage.parts,
        activations_bytes=0.0 if given else around.activations_bytes,
        outside_bytes=0.0 if given else around.outside_bytes,
        kv_bytes=middle,
        low_kv_bytes=low,
        high_kv_bytes=high,
        cache=cache,
        block_tokens=engine.block_tokens,
        groups=d.dp,
        max_model_len=d.max_model_len or longest,
        is_measured=given,
    )


def _cache_bytes(d: Deployment, stage: StageWeights, around: Beside) -> tuple[float, float, float]:
    """Of one device: as expected, the least, the most."""
    memory, held, expected = d.hardware.memory_bytes, stage.total_bytes, around.activations_bytes + around.outside_bytes
    if d.engine.fraction_of == "weights and cache":
        free = memory - around.outside_bytes
        kinds = ((free, 0.0), (memory * (1 - UNSHOWN_SHARE) - around.high_bytes, 0.0), (memory, 0.0))
    else:
        kinds = ((memory, expected), (memory * (1 - UNSHOWN_SHARE), around.high_bytes), (memory, around.low_bytes))
    middle, low, high = (cache_left(d.engine.fraction_of, d.fraction, whole, held, beside_bytes) for whole, beside_bytes in kinds)
    return middle, low, high


def _demand_room(d: Deployment, stage: StageWeights, kv_bytes: float) -> None:
    """Refuse a cache that is more than the device has beside its weights. Raises PhysicsError."""
    room = d.hardware.memory_bytes - stage.total_bytes
    if kv_bytes > room:
        assert d.kv_blocks is not None
        raise PhysicsError(
            f"{format_int(d.kv_blocks)} blocks of {d.engine.block_tokens} tokens are {format_bytes(kv_bytes)} of cache, and "
            f"{d.hardware.id} has {format_bytes(max(0.0, room))} beside the weights"
        )
