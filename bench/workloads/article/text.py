"""Text about the channel from a small grammar whose entropy is known exactly. Standard library only."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several continuations, each with its weight."""

    options: tuple[tuple[float, Node], ...]


Node = str | tuple["Node", ...] | Choice
"""A piece of the grammar: literal text, pieces one after the other, or a choice."""


def _one_of(*options: Node) -> Choice:
    return Choice(tuple((1.0, option) for option in options))


_DIGIT = _one_of(*"0123456789")
_WORKDAYS = ("monday", "tuesday", "wednesday", "thursday")
_REASON = Choice(((6.0, ""), (3.0, ", thanks to a new video"), (1.0, ", although it was a holiday")))
_FEW = (Choice(((3.0, "1."), (1.0, "2."))), _DIGIT, " thousand views")
_MANY = (Choice(((3.0, "3."), (1.0, "4."))), _DIGIT, " thousand views")
_TOPIC = _one_of("gradient descent", "sigmoid functions", "overfitting", "language models")
_OPINION = _one_of("liked", "shared", "skipped")

LINE: Node = Choice(
    (
        (4.0, ("on ", _one_of(*_WORKDAYS, "sunday"), " the channel had ", _MANY, _REASON, ".\n")),
        (2.0, ("on ", _one_of("friday", "saturday"), " the channel had ", _FEW, ".\n")),
        (2.0, ("viewers ", _OPINION, " the video about ", _TOPIC, ".\n")),
        (1.0, ("the next video is about ", _TOPIC, ".\n")),
    )
)
"""One line of the text. Lines are independent of each other, end with the only newline they hold, and no line can
come about in two ways: so the entropy of a line is that of its choices."""


@cache
def lines(node: Node = LINE) -> dict[str, float]:
    """Every text that a piece of the grammar can produce, with its probability."""
    if isinstance(node, str):
        return {node: 1.0}
    probabilities: dict[str, float] = {}
    if isinstance(node, Choice):
        total = math.fsum(weight for weight, _ in node.options)
        for weight, option in node.options:
            for text, probability in lines(option).items():
                probabilities[text] = probabilities.get(text, 0.0) + weight / total * probability
        return probabilities
    probabilities = {"": 1.0}
    for part in node:
        probabilities = {a + b: p * q for a, p in probabilities.items() for b, q in lines(part).items()}
    return probabilities


def entropy_nats(node: Node = LINE) -> float:
    """Entropy of the choices in a piece of the grammar, -sum p·ln p, by the chain rule.

    >>> round(entropy_nats(_DIGIT) / math.log(10), 12)
    1.0
    """
    if isinstance(node, str):
        return 0.0
    if isinstance(node, Choice):
        total = math.fsum(weight for weight, _ in node.options)
        return math.fsum(w / total * (entropy_nats(option) - math.log(w / total)) for w, option in node.options)
    return math.fsum(entropy_nats(part) for part in node)


def mean_length(node: Node = LINE) -> float:
    """Expected number of characters of a piece of the grammar."""
    if isinstance(node, str):
        return float(len(node))
    if isinstance(node, Choice):
        total = math.fsum(weight for weight, _ in node.options)
        return math.fsum(weight / total * mean_length(option) for weight, option in node.options)
    return math.fsum(mean_length(part) for part in node)


def entropy_rate_nats() -> float:
    """Entropy per character of the endless text, H(line) / E[length of a line], in nats.

    Lines are independent and each tells where it ends, so n lines hold n·H(line) nats in about n·E[length]
    characters (the renewal theorem). No model's expected loss per character lies below: it sees only a part of
    the text before a character, and conditioning on less cannot lower an entropy.
    """
    return entropy_nats() / mean_length()


@cache
def alphabet() -> str:
    """The characters of the text, in order; a token is an index into it."""
    return "".join(sorted({character for line in lines() for character in line}))


def _started(position: str) -> dict[str, float]:
    """What may be left of the current line after `position` is left: itself, or at a line's end any line."""
    return {position: 1.0} if position else lines()


@cache
def _anywhere(character: str) -> dict[str, float]:
    """What may be left of the current line, seen only that the text shows `character` at a place chosen at random."""
    belief: dict[str, float] = {}
    for line, probability in lines().items():
        for i, shown in enumerate(line):
            if shown == character:
                rest = line[i + 1 :]
                belief[rest] = belief.get(rest, 0.0) + probability
    return belief


def ideal_losses(window: str) -> list[float]:
    """-ln P(character | those before it in the window), for all but the first, of a reader who knows the grammar.

    The reader keeps a belief over what is left of the current line and drops what each character rules out (Bayes'
    rule; the forward algorithm). Expected loss: no model that sees the same window can do better.

    >>> [round(loss, 4) for loss in ideal_losses("\\nvi")]  # 2 of 9 lines start with v, then i is certain: ln(9/2), ln(1)
    [1.5041, 0.0]
    """
    belief = _anywhere(window[0])
    losses = []
    for character in window[1:]:
        total, after = 0.0, dict[str, float]()
        for position, weight in belief.items():
            for rest, probability in _started(position).items():
                total += weight * probability
                if rest[0] == character:
                    after[rest[1:]] = after.get(rest[1:], 0.0) + weight * probability
        assert after, f"the grammar cannot have written {window!r}"
        seen = math.fsum(after.values())
        losses.append(math.log(total / seen))
        belief = {rest: weight / seen for rest, weight in after.items()}
    return losses


def generate(num_characters: int, seed: int) -> str:
    """Text of exactly that many characters; it starts and ends within a line."""
    draw = random.Random(seed)
    texts, weights = list(lines()), list(lines().values())
    pieces: list[str] = []
    missing = num_characters + max(map(len, texts))
    while missing > 0:
        pieces.append(draw.choices(texts, weights)[0])
        missing -= len(pieces[-1])
    start = draw.randrange(len(pieces[0]))
    return "".join(pieces)[start : start + num_characters]


def unigram_entropy_nats() -> float:
    """Entropy of single characters at their expected frequencies: the loss of a model that knows only how common each is."""
    expected = dict.fromkeys(alphabet(), 0.0)
    for line, probability in lines().items():
        for character in line:
            expected[character] += probability
    total = math.fsum(expected.values())
    return -math.fsum(n / total * math.log(n / total) for n in expected.values())


def grammatical_lines(text: str) -> tuple[int, int]:
    """Of the complete lines of a text, how many the grammar can produce, and how many there are. The first may be cut, and the last."""
    complete = text.split("\n")[1:-1]
    return sum(line + "\n" in lines() for line in complete), len(complete)
