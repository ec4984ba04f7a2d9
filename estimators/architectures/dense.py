"""Fully connected networks: the article's linear regressions, sums of sigmoids, deep networks and classifiers."""

from __future__ import annotations

from estimators.architectures.rows import elementwise, linear
from estimators.frozen import frozen
from estimators.spec import Model, Op, Source, Workload


@frozen
class DenseNetwork(Model):
    """widths[0] inputs, then one linear layer with bias per further width, an activation between two layers.

    A linear regression on n days is widths (n, 1). A sum of n sigmoids, y = b + sum_i c_i·sigmoid(b_i + sum_j w_ij·x_j),
    is widths (inputs, n, 1).

    Attributes:
        widths: at least two.
        activation: between the layers; costs no FLOP under the convention.
    """

    name: str
    source: Source
    widths: tuple[int, ...]
    activation: str = "sigmoid"

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """One row per linear layer and activation. A sample is one token: rows = batch · seq_len.

        Raises:
            BadValueError: samples that are no numbers.
        """
        self.demand_sample(workload)
        table: list[Op] = []
        last = len(self.widths) - 2
        for i, (d_in, d_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            component = "head" if i == last else "mlp"
            table.append(
                linear(
                    workload, "linear", "linear", component, cut="whole", label=str(i), d_in=d_in, d_out=d_out, bias=True, input_grad=i > 0
                )
            )
            if i != last:
                table.append(
                    elementwise(workload, self.activation, "activation", "mlp", cut="whole", label=str(i), width=d_out, recomputed=False)
                )
        return tuple(table)
