"""Configuration files, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from estimators.tuning.readers.job_files import Reading, combined
from tests.support.tuning_files import Reader


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Write files, by name, and read them as those of one job."""

    def reader(*order: str, **texts: str) -> Reading:
        paths = []
        for name, text in texts.items():
            path = tmp_path / name.replace("__", ".")
            path.write_text(text, encoding="utf-8")
            paths.append(str(path))
        return combined([*order, *paths])

    return reader
