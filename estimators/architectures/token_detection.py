"""YOLOS: a transformer over patches, with tokens beside them that each find one object."""

from __future__ import annotations

from estimators.architectures.detection import box_rows
from estimators.architectures.rows import linear, parameters
from estimators.architectures.stems import PatchStem
from estimators.architectures.vision import Resizable, VisionTransformer
from estimators.frozen import frozen, replace
from estimators.samples import Image
from estimators.spec import Op, Source, Workload


@frozen
class TokenDetector(Resizable):
    """A vision transformer whose last tokens are sorted and boxed.

    Attributes:
        runs: the class of transformers that this is.
        body: with those tokens among its extra ones.
        found: how many of them.
        positions_within: layers behind which learned positions are added once more.
        classes: that each is sorted into, none of them among them; 0 for the model without heads.

    Source: Fang et al. 2021, You Only Look at One Sequence (arXiv 2106.00666), section 3.
    """

    name: str
    source: Source
    runs: str
    body: VisionTransformer
    found: int
    positions_within: int
    classes: int

    @property
    def sample(self) -> Image | None:
        """The body's."""
        return self.body.sample

    @property
    def any_size(self) -> bool:
        """As the body, which interpolates its positions."""
        return self.body.any_size

    def sized(self, image: Image) -> TokenDetector:
        """The same on images of another size. Raises BadValueError for one without a whole patch."""
        return replace(self, body=self.body.sized(image))

    def ops(self, workload: Workload) -> tuple[Op, ...]:
        """The op table of one step over batch images. Raises BadValueError for a phase, a length or a size that it does not have."""
        if isinstance(workload.sample, Image) and workload.sample != self.sample:
            return self.sized(workload.sample).ops(replace(workload, sample=None))
        table, d, rows = list(self.body.ops(workload)), self.body.tower.width, workload.batch * self.found
        stem = self.body.tower.stem
        assert isinstance(stem, PatchStem)
        if self.positions_within:
            num = self.positions_within * (stem.position_rows or stem.tokens) * d
            table.append(parameters(workload, "layer", "positions", "embedding", num=num))
        if not self.classes:
            return tuple(table)
        widths = (("in", d, d), ("middle", d, d), ("out", d, self.classes))
        table += [
            linear(workload, "head.class", "head", "head", cut="whole", label=label, d_in=a, d_out=b, bias=True, rows=rows)
            for label, a, b in widths
        ]
        return (*table, *box_rows(workload, "head.box", d, rows=rows))
