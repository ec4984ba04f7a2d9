"""How an answer came about: for each figure its formula, the numbers put into it, their sources, and a check.

A formula is written in the symbols of its inputs, so that it can be worked through with nothing but the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from estimators.frozen import frozen
from estimators.units import format_int
from reports.table import Column, Table, Value

Number = int | float


@frozen
class Input:
    """One number that goes into a formula.

    Attributes:
        text: the number with its unit, as people read it.
        source: who says so: a document, an option of the command, or the figure above that it is.
    """

    symbol: str
    value: Number
    text: str
    source: str


@frozen
class FormulaStep:
    """One figure of the answer.

    Attributes:
        formula: in the inputs' symbols, with ``·`` for times.
        check: a command that shows what the figure is made from; empty where all of it stands above.
    """

    figure: str
    value: Number
    text: str
    formula: str
    inputs: tuple[Input, ...]
    check: str = ""

    @property
    def arithmetic(self) -> str:
        """The formula with the numbers in it, in Python's notation."""
        numbers = {i.symbol: repr(i.value) for i in self.inputs}
        return re.sub(r"\b[A-Za-z_]+\b", lambda word: numbers.get(word[0], word[0]), self.formula.replace("·", "*"))


def explanation_table(steps: Sequence[FormulaStep], *, what: str, key: str = "explanation") -> Table:
    """The steps, in the order in which they build on each other.

    Args:
        what: what is explained, for the title.
    """
    rows: list[dict[str, Value]] = []
    for step in steps:
        figure: dict[str, Value] = {"figure": step.figure}
        rows.append(figure | {"part": "is", "text": step.text, "value": step.value})
        rows.append(figure | {"part": "formula", "text": step.formula})
        rows += [
            figure
            | {"part": "with", "symbol": i.symbol, "text": f"{i.symbol} = {i.text} ({i.source})", "value": i.value, "source": i.source}
            for i in step.inputs
        ]
        rows += [figure | {"part": "check", "text": check} for check in (step.check, f'python -c "print({step.arithmetic})"') if check]
    return Table(
        title=f"How it came about: {what}",
        columns=[
            Column(key="figure", header="figure", once=True),
            Column(key="part", header=""),
            Column(key="text", header=""),
            Column(key="symbol", header="symbol", raw=True),
            Column(key="value", header="value", raw=True),
            Column(key="source", header="source", raw=True),
        ],
        rows=rows,
        key=key,
    )


def params_step(params: int, by_component: Mapping[str, int], *, source: str, model_option: str) -> FormulaStep:
    """The parameter count as the sum of its components."""
    return FormulaStep(
        figure="parameters",
        value=params,
        text=format_int(params),
        formula=" + ".join(by_component),
        inputs=tuple(
            Input(symbol=name, value=count, text=format_int(count), source=f"op table of {source}" if i == 0 else "op table")
            for i, (name, count) in enumerate(by_component.items())
        ),
        check=f"python -m bench show {model_option}",
    )
