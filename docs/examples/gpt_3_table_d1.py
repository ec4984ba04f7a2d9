"""The eight GPT-3 models of Brown et al. 2020 (arXiv 2005.14165) on 300 billion tokens: table D.1 beside the counts made here.

python docs/examples/gpt_3_table_d1.py
"""

from __future__ import annotations

from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import count_params
from estimators.facts.registry import model_entry, model_ids
from estimators.spec import Workload
from estimators.training.at_utilization import training_flop
from estimators.units import format_int, format_ratio
from reports.render import render
from reports.table import Column, Table, Value

SEQ_LEN = 2048


def row(name: str) -> dict[str, Value]:
    """One model: the paper's figure, 6·N·D with the exact N, and the exact count."""
    entry = model_entry(name)
    assert entry.training is not None
    model = model_from_config(entry.config, entry.id, entry.source)
    flop, published = training_flop(model, entry.training["tokens"], SEQ_LEN), entry.training["flop"]
    return {
        "model": entry.id,
        "params": count_params(model.ops(Workload())),
        "published_flop": published,
        "six_nd_flop": flop["6nd"],
        "six_nd_ratio": flop["6nd"] / published,
        "full_flop": flop["full"],
        "full_ratio": flop["full"] / published,
    }


def powers(flop: float) -> str:
    """As the paper prints it."""
    return f"{flop:.3e}"


def table() -> Table:
    """All eight, smallest first."""
    rows = [row(name) for name in model_ids() if name.startswith("gpt-3-")]
    return Table(
        title="Table D.1 of the GPT-3 paper beside the counts made here",
        conditions=[
            "training FLOP for 300 billion tokens in sequences of 2,048",
            "full: every matrix product, attention and head included",
        ],
        columns=[
            Column(key="model", header="model"),
            Column(key="params", header="parameters", format=format_int, align="right"),
            Column(key="published_flop", header="paper", format=powers, align="right"),
            Column(key="six_nd_flop", header="6·N·D", format=powers, align="right"),
            Column(key="six_nd_ratio", header="to paper", format=format_ratio, align="right"),
            Column(key="full_flop", header="exact, full", format=powers, align="right"),
            Column(key="full_ratio", header="to paper", format=format_ratio, align="right"),
        ],
        rows=sorted(rows, key=lambda r: r["full_flop"] or 0),
        notes=[
            "The paper rounds N to millions; its XL is 1,320M, where 24 layers of width 2,048 make 1,316M.",
            "The smaller the model, the more of its work is attention and head, which the paper's 6·N·D leaves out.",
        ],
    )


if __name__ == "__main__":
    print(render([table()], "md"))
