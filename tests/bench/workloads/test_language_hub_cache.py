"""Checkpoints from the hub's local cache, never the network; a checkpoint's own code runs only when asked."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.workloads.language import loading
from bench.workloads.language.run import Checkpoint
from estimators.errors import UnavailableError
from tests.support.checkout import ROOT
from tests.support.checkpoints import save_checkpoint
from tests.support.tiny_models import decided

pytestmark = pytest.mark.usefixtures("quick")

REMOTE_CODE = """
import pathlib
from transformers import PhiConfig, PhiForCausalLM

pathlib.Path({marker!r}).write_text("executed")


class EvilConfig(PhiConfig):
    pass


class EvilForCausalLM(PhiForCausalLM):
    config_class = EvilConfig
"""

FRESH_PROCESS = """
import dataclasses, json, pathlib, sys
from bench.workloads.language import loading
from tests.support.tiny_models import decided

own_code, marker = sys.argv[1:]
seen = {}

def load(found, trusted):
    loading.load_tokenizer(found, trusted)
    return loading.load(dataclasses.replace(decided("phi", "generate", trust_remote_code=trusted), checkpoint=found)).model

for trusted in (False, True):
    found = loading.find_checkpoint(own_code, None)
    name = type(load(found, trusted)).__name__
    seen["trusted" if trusted else "not trusted"] = [name, pathlib.Path(marker).exists()]

cached = loading.find_checkpoint(None, "openai-community/gpt2")
seen["cached"] = [cached.label, float(load(cached, False).transformer.wte.weight.detach().double().sum())]
seen["not cached"] = loading.find_checkpoint(None, "microsoft/phi-2")
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def fresh_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process sees that has imported and cached nothing, with a hub cache and a checkpoint with code of its own.

    Layout of the cache: models--ORG--NAME/{refs/main, snapshots/COMMIT/files}. Source: huggingface_hub, "Understand caching".
    """
    tmp = tmp_path_factory.mktemp("fresh")
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp / "hf" / "hub" / "models--openai-community--gpt2"
    saved = save_checkpoint(cached / "snapshots" / commit, "gpt2")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    own_code, marker = tmp / "evil", tmp / "marker"
    save_checkpoint(own_code)
    path = own_code / "config.json"
    auto_map = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilForCausalLM"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": auto_map}))
    (own_code / "evil.py").write_text(REMOTE_CODE.format(marker=str(marker)))
    environ = {name: value for name, value in os.environ.items() if name != "HF_HUB_CACHE"}
    environ |= {"HF_HOME": str(tmp / "hf"), "HF_MODULES_CACHE": str(tmp / "modules")}
    command = [sys.executable, "-c", FRESH_PROCESS, str(own_code), str(marker)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=300)
    weights = dict(saved.named_parameters())["transformer.wte.weight"].detach().double().sum()
    return json.loads(done.stdout.splitlines()[-1]) | {"saved": weights.item()}


def test_a_checkpoints_own_code_runs_only_when_the_user_says_so(fresh_process: dict[str, Any]) -> None:
    assert fresh_process["not trusted"] == ["PhiForCausalLM", False]
    assert fresh_process["trusted"] == ["EvilForCausalLM", True]


def test_a_checkpoint_in_the_hubs_local_cache_is_found_by_name(fresh_process: dict[str, Any]) -> None:
    assert fresh_process["cached"] == ["checkpoint openai-community/gpt2", fresh_process["saved"]]
    assert fresh_process["not cached"] is None


def test_without_a_cache_there_is_no_checkpoint_and_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> Callable[..., None]:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    missing = Checkpoint(place="nobody/no-such-checkpoint", label="")
    assert loading.find_checkpoint(None, "nobody/no-such-checkpoint") is None
    with pytest.raises(UnavailableError, match="cannot load the checkpoint 'nobody/no-such-checkpoint'"):
        loading.load(dataclasses.replace(decided("phi", "generate"), checkpoint=missing))
    assert loading.load_tokenizer(missing, trust_remote_code=False) is None
