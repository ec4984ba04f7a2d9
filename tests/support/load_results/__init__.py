"""Result files of load generators, and where they lie.

Made by the tools themselves against guidellm's mock server (first token after 40 ms, then one in 8 ms): vllm.json and
vllm_detailed.json (vLLM 0.32, `vllm bench serve`), guidellm.json and guidellm.yaml (0.8.1), aiperf.json and aiperf.jsonl (0.13);
texts, settings and paths are cut out. llama_bench.json, .csv and .md are of llama.cpp's tools/llama-bench/README.md. The others are
written by the tools' sources, with figures made up that agree with one another.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def path_of(name: str) -> str:
    """Of a file here."""
    return str(FOLDER / name)


def changed(name: str, folder: Path, **values: Any) -> str:
    """The path of a copy of a JSON file with some of its values changed; None takes one out."""
    content = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    content |= values
    path = folder / name
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")
    return str(path)
