"""`import sixnd`: each function answers what its verb prints as json, and raises exceptions; nothing is imported before it is used."""

from __future__ import annotations

import doctest
import inspect
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bench.callbacks
import sixnd
from bench.cli.main import main
from bench.cli.verbs import verb_parser
from bench.library import answers
from bench.library.keywords import keyword
from estimators.errors import BadRecordError, BadValueError, PhysicsError, UnknownNameError
from reports.render import render
from reports.table import Table
from tests.support.checkout import ROOT

VERBS: dict[str, Callable[..., Any]] = {
    "estimate": sixnd.estimate,
    "plan": sixnd.plan,
    "fit": sixnd.fit,
    "serve": sixnd.serve,
    "compare-hardware": sixnd.compare_hardware,
    "check-claim": sixnd.check_claim,
    "diagnose": sixnd.diagnose,
    "disclose": sixnd.disclose,
    "show": sixnd.show,
    "run": sixnd.measure,
    "report": sixnd.report,
    "compare": sixnd.compare,
}
TO_FILES = {"help", "format", "json", "output", "verbose", "quiet", "plot", "emit", "export"}
"""Options that say where text goes; a function gives tables."""

LLAMA = {"model": "llama-2-7b", "tokens": "1T"}
PHI_2 = {"model": "phi-2", "tokens": "1.4T", "hardware": "a100-sxm4-80gb", "gpus": 96}
EPYC = str(ROOT / "results" / "cpu-amd-epyc")
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    (
        "estimate --model llama-3-8b --tokens 2T --hardware h100-sxm5-80gb --gpus 256",
        {"model": "llama-3-8b", "tokens": 2e12, "hardware": "h100-sxm5-80gb", "gpus": "256"},
    ),
    ("estimate --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14", {**PHI_2, "days": 14}),
    (
        "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --utilization 45% --deadline 30d --explain",
        {"model": "gpt-3", "tokens": "300B", "hardware": "a100-sxm4-80gb", "utilization": 0.45, "deadline": "30d", "explain": True},
    ),
    (
        "estimate --model llama-3-8b --hardware h100-sxm5-80gb --budget-usd 1M --price 2.5",
        {"model": "llama-3-8b", "hardware": "h100-sxm5-80gb", "budget_usd": 1_000_000, "price": 2.5},
    ),
    (
        "estimate --model phi-2 --hardware a100-sxm4-80gb --prompt-tokens 12 --seq-len 64",
        {"model": "phi-2", "hardware": "a100-sxm4-80gb", "prompt_tokens": 12, "seq_len": 64},
    ),
    (
        "plan --model llama-2-7b --tokens 1T --hardware a100-sxm4-80gb,h100-sxm5-80gb --gpus 64 --what-if recompute=full",
        {**LLAMA, "hardware": ["a100-sxm4-80gb", "h100-sxm5-80gb"], "gpus": 64, "what_if": "recompute=full"},
    ),
    (
        "compare-hardware --model llama-2-7b --tokens 1T --hardware a100-sxm4-80gb,h100-sxm5-80gb --gpus 64",
        {**LLAMA, "hardware": "a100-sxm4-80gb,h100-sxm5-80gb", "gpus": 64},
    ),
    (
        "fit llama-3.1-8b --method qlora --batch 4 --seq-len 2048 --hardware rtx-4090-24gb --framework trl",
        {"model": "llama-3.1-8b", "method": "qlora", "batch": 4, "seq_len": 2048, "hardware": "rtx-4090-24gb", "framework": "trl"},
    ),
    (
        "fit gpt2 --method dpo,lora --hardware rtx-4090-24gb --largest batch --offload activations",
        {"model": "gpt2", "method": ["dpo", "lora"], "hardware": "rtx-4090-24gb", "largest": "batch", "offload": ("activations",)},
    ),
    ("fit --hardware rtx-3060-12gb --menu", {"hardware": "rtx-3060-12gb", "menu": True}),
    (
        "serve llama-3.1-70b --hardware h100-sxm5-80gb --gpus 4 --weights fp8 --output 300 --itl 50ms --users 500 --api-price 0.15,0.60",
        {
            "model": "llama-3.1-70b",
            "hardware": "h100-sxm5-80gb",
            "gpus_per_replica": 4,
            "weights": "fp8",
            "output_tokens": 300,
            "itl": 0.05,
            "users": 500,
            "api_price": (0.15, 0.6),
        },
    ),
    (
        "serve llama-3.1-8b --hardware h100-sxm5-80gb --weights bf16 --kv bf16 --gpus 2 --concurrency 1..64 --search",
        {
            "model": "llama-3.1-8b",
            "hardware": "h100-sxm5-80gb",
            "weights": "bf16",
            "kv": "bf16",
            "gpus_per_replica": 2,
            "concurrency": (1, 64),
            "search": True,
        },
    ),
    (
        "serve llama-3.1-8b --hardware h100-sxm5-80gb --rate 4 --input 500..1500 --output 100 --simulate 50 --seed 3",
        {
            "model": "llama-3.1-8b",
            "hardware": "h100-sxm5-80gb",
            "rate": 4,
            "input_tokens": "500..1500",
            "output_tokens": 100,
            "simulate": 50,
            "seed": 3,
        },
    ),
    (
        "disclose llama-3.1-8b --method lora --tokens 2B --hardware h100-sxm5-80gb --gpus 8 --hours 30 --pue 1.2",
        {
            "what": "llama-3.1-8b",
            "method": "lora",
            "tokens": 2e9,
            "hardware": "h100-sxm5-80gb",
            "gpus": 8,
            "hours": 30,
            "pue": 1.2,
        },
    ),
    ("check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 336h", {**PHI_2, "days": "336h"}),
    (
        "diagnose llama-2-7b --tokens-per-s 3700 --per gpu --hardware a100-sxm4-80gb --gpus 8 --seq-len 4096",
        {"model": "llama-2-7b", "tokens_per_s": "3700", "per": "gpu", "hardware": "a100-sxm4-80gb", "gpus": 8, "seq_len": 4096},
    ),
    ("show --model llama-3-8b --phase decode --context-len 4096", {"model": "llama-3-8b", "phase": "decode", "context_len": 4096}),
    (
        "show --model phi-2 --lora-rank 8 --lora-targets q_proj,v_proj",
        {"model": "phi-2", "lora_rank": 8, "lora_targets": ["q_proj", "v_proj"]},
    ),
    (f"report {EPYC}/check", {"folder": Path(EPYC) / "check"}),
    (f"compare {EPYC} {EPYC} --threshold 5%", {"a": EPYC, "b": EPYC, "threshold": 0.05}),
]


@pytest.mark.parametrize(("command", "given"), QUESTIONS, ids=[command for command, _ in QUESTIONS])
def test_a_function_answers_what_its_verb_prints(command: str, given: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(command), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    answer = VERBS[command.split()[0]](**given)
    assert capsys.readouterr().out == ""
    assert answer.to_dict() == printed
    assert answer.good
    for name, value in printed.items():
        if name not in ("title", "conditions", "rows", "notes") and not isinstance(value, dict):
            assert getattr(answer, name) == value, name


@pytest.mark.parametrize("verb", VERBS)
def test_a_function_takes_every_option_of_its_verb_and_no_other(verb: str) -> None:
    to_files = TO_FILES | ({"out"} if verb == "serve" else set())  # whose --output is the tokens of an answer
    options = {keyword(action) for action in verb_parser(verb)._actions} - to_files
    assert set(inspect.signature(VERBS[verb]).parameters) == options


def test_what_is_measured_is_what_report_says_of_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = sixnd.measure(model="linreg-1d", preset="quick", out=tmp_path)
    (record,) = tmp_path.glob("*.json")
    assert answer.run_id == record.stem
    main(["report", str(record), "--format", "json"])
    assert answer.to_dict() == json.loads(capsys.readouterr().out) == sixnd.report(record).to_dict()


class TestCount:
    """Against products by hand: 3 rows through a 4 x 8 and an 8 x 2 matrix; the first has no gradient of its input."""

    @pytest.fixture
    def answer(self) -> Any:
        from torch import nn, ones

        return sixnd.count(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), ones(3, 4))

    def test_its_figures(self, answer: Any) -> None:
        first, second = 2 * 3 * 4 * 8, 2 * 3 * 8 * 2
        assert answer.params == 4 * 8 + 8 + 8 * 2 + 2
        assert (answer.forward_flop, answer.backward_flop) == (first + second, first + 2 * second)
        assert answer.unseen_operators == []

    def test_its_tables(self, answer: Any) -> None:
        assert [row["name"] for row in answer.tables()[0].rows] == ["(whole)", "0", "2"]
        assert answer.to_dict()["params"] == answer.params


def test_words_and_numbers_are_read_alike() -> None:
    days = {sixnd.estimate(**PHI_2 | {"tokens": tokens}).wall_days for tokens in ("1.4T", 1.4e12, 1_400_000_000_000, "1400B")}
    assert len(days) == 1


def test_lists_and_numbers_are_taken_as_they_are() -> None:
    asked = {"model": "llama-2-7b", "gpus": 64, "tokens": 10**12}
    named = sixnd.plan(**asked, hardware="a100-sxm4-80gb, h100-sxm5-80gb", global_batch="4M", deadline="60d")
    typed = sixnd.plan(**asked, hardware=("a100-sxm4-80gb", "h100-sxm5-80gb"), global_batch=4_000_000, deadline=60)
    assert typed.to_dict() == named.to_dict()


def test_an_impossible_claim_is_an_answer_that_is_not_good() -> None:
    answer = sixnd.check_claim(**PHI_2, days=9)
    assert (answer.possible, answer.good, answer.verdict) == (False, False, "impossible")


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: sixnd.estimate(model="phi-3000"), UnknownNameError, "unknown model 'phi-3000'; did you mean 'phi-2'"),
        (lambda: sixnd.estimate(), BadValueError, "one of the arguments --model --config is required"),
        (lambda: sixnd.estimate(model="gpt2", tokens="many"), BadValueError, "tokens 'many'"),
        (lambda: sixnd.estimate(model="gpt2", tokens=1.5), BadValueError, "tokens '1.5' is not a whole number"),
        (lambda: sixnd.estimate(model="gpt2", tokens=float("nan")), BadValueError, "tokens 'nan' is not a count"),
        (lambda: sixnd.estimate(model="gpt2", tokens=float("inf")), BadValueError, "tokens 'inf' is out of range"),
        (lambda: sixnd.estimate(model="gpt2", tokens=0), BadValueError, "tokens '0' is out of range"),
        (lambda: sixnd.estimate(model="gpt2", utilization=1.2), BadValueError, "utilization '1.2' is out of range"),
        (lambda: sixnd.estimate(model="gpt2", network=5e10), BadValueError, "argument --network: invalid"),  # type: ignore[arg-type]
        (lambda: sixnd.estimate(model="gpt2", config="x"), BadValueError, "argument --config: not allowed with argument --model"),
        (lambda: sixnd.show(model="gpt2", phase="backward"), BadValueError, "argument --phase: invalid choice: 'backward'"),
        (lambda: sixnd.estimate(**PHI_2, days=9), PhysicsError, "Impossible: what no kernel may skip takes 102 %"),
        (lambda: sixnd.report("--help"), BadRecordError, "no record folder '--help'"),
    ],
)
def test_a_wrong_request_is_an_exception_of_one_line(
    ask: Callable[[], Any], error: type[Exception], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error, match=message) as raised:
        ask()
    assert "\n" not in str(raised.value)
    assert capsys.readouterr() == ("", "")


def test_a_keyword_that_no_verb_knows_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'token'"):
        sixnd.estimate(model="gpt2", token=1)  # type: ignore[call-arg]


class TestAnswer:
    def test_a_figure_that_the_question_has_no_value_for_is_none_with_a_reason(self) -> None:
        answer = sixnd.estimate(model="phi-2", tokens="1B")
        assert answer.wall_days is None
        assert answer.unavailable is not None
        assert "--hardware" in answer.unavailable["wall_days"]

    def test_a_misspelt_attribute_is_answered_with_its_near_miss(self) -> None:
        with pytest.raises(AttributeError, match="EstimateAnswer has no 'wall_day'; did you mean wall_days"):
            sixnd.estimate(model="phi-2", tokens="1B").wall_day  # type: ignore[attr-defined]  # noqa: B018

    def test_it_shows_itself_as_html_text_and_one_line(self) -> None:
        answer = sixnd.show(model="phi-2")
        assert all(isinstance(table, Table) for table in answer.tables())
        assert answer._repr_html_().count("<table>") == len(answer.tables()) == 3
        assert repr(answer) == "<ModelAnswer: Operations of phi-2: 12.22 TFLOP forward, 2,779,683,840 parameters>"
        assert str(answer).startswith("Operations of phi-2")
        assert "\n" not in repr(answer.tables()[0])
        assert {"forward_flop", "tables", "good"} <= set(dir(answer))

    @pytest.mark.parametrize(("command", "given"), QUESTIONS, ids=[command for command, _ in QUESTIONS])
    def test_printed_it_is_the_verbs_screen_and_with_verbose_everything(
        self, command: str, given: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "100")
        answer = VERBS[command.split()[0]](**given)
        for words, shown in ([], str(answer)), (["-v"], answer.text(verbose=True)):
            assert main([*shlex.split(command), *words]) == 0
            printed = capsys.readouterr().out
            assert self.without_ways(shown) == self.without_ways(printed)
            assert " -v" not in shown.rpartition("more: ")[2]
        assert len(str(answer).splitlines()) <= 30 or "--explain" in command or "--what-if" in command
        assert max(map(len, str(answer).splitlines())) <= 100
        assert ".text(verbose=True) (everything" in " ".join(str(answer).split())

    @staticmethod
    def without_ways(text: str) -> str:
        """The words of a screen up to how more is asked for, however they wrap."""
        words = " ".join(text.split()).partition(" more: ")[0]
        return re.sub(r" (-v|\.text\(verbose=True\))", "", words)

    def test_a_counted_network_is_printed_on_a_screen_too(self) -> None:
        from torch import nn, ones

        shown = str(sixnd.count(nn.Linear(2, 2), ones(1, 2)))
        assert shown.splitlines()[-1].startswith("more: .text(verbose=True) (everything, ")

    def test_a_table_is_printed_as_the_verb_shows_it_whole(self) -> None:
        answer = sixnd.show(model="phi-2")
        assert str(answer.tables()[0]) in render(answer.tables(), "text")

    @pytest.mark.parametrize("kind", answers.Answer.__subclasses__())
    def test_every_attribute_that_a_class_lists_is_in_some_answer(self, kind: type[answers.Answer]) -> None:
        from torch import nn, ones

        answered = [
            VERBS[c.split()[0]](**given) for c, given in QUESTIONS if VERBS[c.split()[0]].__annotations__["return"] == kind.__name__
        ]
        if kind is answers.RecordsAnswer:
            answered.append(sixnd.report(next((Path(EPYC) / "suite").glob("*linreg-1d-train*.json"))))
        if kind is answers.CountAnswer:
            answered.append(sixnd.count(nn.Linear(2, 2), ones(1, 2)))
        held = {name for answer in answered for name in answer._facts()}
        assert set(kind.__annotations__) - held == set()


class TestDocument:
    PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")

    @staticmethod
    def complaints(page: str) -> str:
        """What doctest says of the fenced blocks of Python of a page, run one after another."""
        blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
        assert blocks
        test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "library.md", None, 0)
        said: list[str] = []
        doctest.DocTestRunner().run(test, out=said.append)
        return "".join(said)

    def test_every_example_gives_what_stands_below_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert self.complaints(self.PAGE) == ""

    def test_another_figure_would_be_found(self) -> None:
        page = "```python\n>>> import sixnd\n>>> sixnd.show(model='phi-2').params\n2779683841\n```\n"
        assert "Got:\n    2779683840" in self.complaints(page)

    @pytest.mark.parametrize("name", sixnd.__all__)
    def test_every_name_is_on_the_page(self, name: str) -> None:
        assert f"`{name}`" in self.PAGE


class TestImport:
    def test_it_loads_no_package_of_ours_and_nothing_heavy(self) -> None:
        unwanted = ("estimators", "bench", "reports", "torch", "transformers", "numpy", "pandas", "rich", "tabulate", "psutil", "typing")
        program = f"import sys, sixnd; print([m for m in {unwanted!r} if m in sys.modules], 'estimate' in dir(sixnd))"
        # -S: an editable installation's own start-up files load what they like.
        done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
        assert done.stdout == "[] True\n"

    def test_every_name_is_there_and_what_watches_is_that_of_the_callbacks(self) -> None:
        assert all(callable(getattr(sixnd, name)) for name in sixnd.__all__)
        assert (sixnd.watch, sixnd.Watch) == (bench.callbacks.watch, bench.callbacks.Watch)

    def test_another_name_is_an_attribute_error_that_lists_those_there_are(self) -> None:
        with pytest.raises(AttributeError, match=r"module 'sixnd' has no attribute 'estimat'; it has .*estimate"):
            sixnd.estimat  # noqa: B018

    @pytest.mark.parametrize("hides", ["bench/__init__.py", "bench.py", "reports/__init__.py", "estimators/__init__.py"])
    def test_a_folder_of_the_users_that_hides_a_package_is_named_in_one_line(self, hides: str, tmp_path: Path) -> None:
        (tmp_path / hides).parent.mkdir(exist_ok=True)
        (tmp_path / hides).write_text("")
        tried = "try:\n    sixnd.estimate\nexcept ImportError as error:\n    print(error)"
        program = f"import sys; sys.path.insert(1, {str(ROOT)!r})\nimport sixnd\n{tried}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
        package = hides.split("/")[0].removesuffix(".py")
        assert done.stdout.startswith(f"sixnd needs its own package {package!r} in {ROOT}; Python finds {tmp_path / package}")
        assert done.stdout.endswith(" instead: rename it, or start Python in another folder\n")
        assert done.stdout.count("\n") == 1

    def test_an_empty_folder_of_that_name_hides_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "bench").mkdir()
        program = f"import sys; sys.path.insert(1, {str(ROOT)!r})\nimport sixnd\nprint(sixnd.show(model='phi-2').params)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert done.stdout == "2779683840\n"
