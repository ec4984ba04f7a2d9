"""Load generators that may be installed: how each is called to load an endpoint, and what file it leaves. None of our own."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import field, frozen

LOOPBACK = ("localhost", "localhost.localdomain")

LONGEST_S = 24 * 3600.0
GRACE_S = 10.0
"""For a tool that was told to end."""


@frozen
class EndpointLoad:
    """What an endpoint is to be loaded with.

    Attributes:
        url: such as http://127.0.0.1:8000/v1.
        model: as the endpoint calls it.
        tokenizer: a name or a folder; empty for the model's.
        requests, concurrency, prompt_tokens, output_tokens: of the load.
        rate: requests a second in place of a closed loop; None for one.
        seed: of what is drawn.
    """

    url: str
    model: str
    tokenizer: str
    requests: int
    concurrency: int | None
    rate: float | None
    prompt_tokens: int
    output_tokens: int
    seed: int = 0

    @property
    def base(self) -> str:
        """The address without /v1, which tools add themselves."""
        return self.url.rstrip("/").removesuffix("/v1")


@frozen
class LoadTool:
    """One load generator.

    Attributes:
        program: on PATH.
        install: the command that installs it.
        words: of its command line, for a load and a folder to write to.
        result: the file in that folder.
        file_format: as `import` names it.
    """

    program: str
    install: str
    words: Callable[[EndpointLoad, Path], list[str]] = field(hash=False)
    result: str
    file_format: str


def _vllm(load: EndpointLoad, folder: Path) -> list[str]:
    words = ["bench", "serve", "--backend", "openai", "--base-url", load.base, "--model", load.model]
    words += ["--tokenizer", load.tokenizer] if load.tokenizer else []
    words += ["--dataset-name", "random", "--random-input-len", str(load.prompt_tokens), "--random-output-len", str(load.output_tokens)]
    words += ["--num-prompts", str(load.requests), "--seed", str(load.seed), "--ignore-eos"]
    words += ["--max-concurrency", str(load.concurrency)] if load.concurrency else ["--request-rate", f"{load.rate:g}"]
    return [*words, "--save-result", "--save-detailed", "--result-dir", str(folder), "--result-filename", "result.json"]


def _guidellm(load: EndpointLoad, folder: Path) -> list[str]:
    profile = f"kind=concurrent,streams={load.concurrency}" if load.concurrency else f"kind=poisson,rate={load.rate:g}"
    words = ["run", "--backend", f"kind=openai_http,target={load.base},model={load.model}", "--profile", profile]
    words += ["--constraint", f"kind=max_requests,count={load.requests}", "--seed", f"kind=static,value={load.seed}"]
    words += ["--tokenizer", f"kind=hf_auto,model={load.tokenizer or load.model}"]
    words += ["--data", f"kind=synthetic_text,prompt_tokens={load.prompt_tokens},output_tokens={load.output_tokens}"]
    return [*words, "--output", f"kind=json,path={folder / 'result.json'}", "--disable-console"]


def _aiperf(load: EndpointLoad, folder: Path) -> list[str]:
    words = ["profile", "--model", load.model, "--url", load.base, "--endpoint-type", "chat", "--streaming", "--ui", "none"]
    words += ["--tokenizer", load.tokenizer] if load.tokenizer else []
    words += ["--isl", str(load.prompt_tokens), "--osl", str(load.output_tokens), "--request-count", str(load.requests)]
    words += ["--concurrency", str(load.concurrency)] if load.concurrency else ["--request-rate", f"{load.rate:g}"]
    return [*words, "--random-seed", str(load.seed), "--artifact-dir", str(folder)]


TOOLS: dict[str, LoadTool] = {
    "vllm": LoadTool(program="vllm", install="pip install vllm", words=_vllm, result="result.json", file_format="vllm"),
    "guidellm": LoadTool(program="guidellm", install="pip install guidellm", words=_guidellm, result="result.json", file_format="guidellm"),
    "aiperf": LoadTool(
        program="aiperf", install="pip install aiperf", words=_aiperf, result="profile_export.jsonl", file_format="aiperf-requests"
    ),
}
"""In the order in which they are taken. Source of the options: vLLM 0.32, guidellm 0.8.1, AIPerf 0.13, each run so."""


def installed(name: str | None) -> tuple[LoadTool, str]:
    """A load generator, and where it lies.

    Args:
        name: of the one to take; None for the first that is installed.

    Raises:
        BadValueError: no such tool.
        UnavailableError: none is installed: the commands that install one.
    """
    if name is not None and name not in TOOLS:
        raise BadValueError(f"load generator {name[:40]!r} is unknown; expected one of: {', '.join(TOOLS)}")
    for tool in [TOOLS[name]] if name else TOOLS.values():
        if path := shutil.which(tool.program):
            return tool, path
    wanted = [TOOLS[name]] if name else list(TOOLS.values())
    commands = ", or ".join(tool.install for tool in wanted)
    raise UnavailableError(
        f"--endpoint needs a load generator, and {name or 'none'} is{' not' if name else ''} on PATH; install it by: {commands}"
    )


def demand_allowed(url: str, allowed: Sequence[str]) -> None:
    """Refuse an address that is not of this machine, unless its host was named.

    Raises:
        BadValueError: no such address, or another machine's.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        parts.port  # noqa: B018  # raises for what is no port
    except ValueError:
        host = ""
        parts = urllib.parse.urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise BadValueError(f"--endpoint {url[:80]!r} is no address; expected one such as http://127.0.0.1:8000/v1")
    if not is_loopback(host) and host not in allowed:
        raise BadValueError(f"--endpoint {url[:80]!r} is another machine; where it is yours to load, say so: --allow-host {host[:60]}")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("10.0.0.1"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK


def run_tool(tool: LoadTool, path: str, load: EndpointLoad, folder: Path, log: Path) -> Path:
    """Run a load generator to its end; its words go into a log.

    Returns:
        The file that it left.

    Raises:
        UnavailableError: it failed, or left no file, and its last line is passed on; or it did not end within LONGEST_S.
        KeyboardInterrupt: after it was ended.
    """
    with open(log, "wb") as words:
        child = subprocess.Popen(
            [path, *tool.words(load, folder)], stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = child.wait(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            _end(child)
            raise UnavailableError(f"{tool.program} did not end within {LONGEST_S:,.0f} s, and was ended; its words: {log}") from None
        except BaseException:
            _end(child)
            raise
    result = folder / tool.result
    if code or not result.is_file():
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        said = lines[-1][:200] if lines else "it said nothing"
        left = "a result" if result.is_file() else "no result"
        raise UnavailableError(f"{tool.program} ended with {code} and {left}: {said}; its words: {log}")
    return result


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it started."""
    for sent, patience_s in ((signal.SIGINT, GRACE_S), (signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, sent)
            child.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            child.wait()
        return
