"""Command lines as people type them: a model without `--model`, other spellings, help and version anywhere, one unit for one thing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import program
from bench.cli.main import main
from bench.cli.parser import MODEL, SPELLINGS
from bench.cli.verbs import EXAMPLES, GROUPS, VERBS, verb_parser
from estimators.errors import BadValueError, UnknownNameError
from estimators.parsing import parse_count, parse_length
from estimators.training.layouts.global_batch import Batch, parse_batch
from tests.support.checkout import ROOT
from tests.support.error_lines import complaint

H100 = "h100-sxm5-80gb"
LLAMA = ["--model", "llama-2-7b", "--tokens", "1T", "--hardware", H100, "--gpus", "64"]


def read(*words: str) -> dict[str, Any]:
    return verb_parser(words[0]).parse_strictly(words[1:])


class TestAModelByItself:
    @pytest.mark.parametrize("verb", ["estimate", "show", "run", "calibrate"])
    def test_stands_where_it_likes(self, verb: str) -> None:
        usual = (
            read(verb, "--model", "phi-2", "--dtype", "fp32") if verb != "calibrate" else read(verb, "--model", "phi-2", "--device", "cpu")
        )
        option = ["--device", "cpu"] if verb == "calibrate" else ["--dtype", "fp32"]
        assert read(verb, "phi-2", *option) == read(verb, *option, "phi-2") == read(verb, f"{option[0]}={option[1]}", "phi-2") == usual

    def test_every_verb_that_asks_for_a_model_takes_it(self) -> None:
        with_model = [verb for verb in VERBS if MODEL in verb_parser(verb).actions_by_option and verb not in ("import", "disclose")]
        assert {"estimate", "plan", "compare-hardware", "check-claim", "translate", "show", "run", "calibrate"} <= set(with_model)
        for verb in with_model:
            assert "[MODEL]" in verb_parser(verb).format_usage()
        assert "[MODEL]" not in verb_parser("import").format_usage()  # what stands by itself is its file
        assert "[WHAT]" in verb_parser("disclose").format_usage()  # or a model

    def test_beside_the_same_one_is_no_complaint(self) -> None:
        assert read("show", "phi-2", "--model", "phi-2") == read("show", "phi-2")

    @pytest.mark.parametrize("words", [["gpt2", "--model", "phi-2"], ["--model=phi-2", "gpt2"], ["--model-name", "phi-2", "gpt2"]])
    def test_beside_another_one_is_one_line(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert "unexpected 'gpt2': the model is --model phi-2 already" in complaint(["show", *words], capsys)

    @pytest.mark.parametrize(("verb", "other"), [("show", ["--config", "x.json"]), ("run", ["--suite", "article"])])
    def test_beside_what_excludes_it_is_one_line(self, verb: str, other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert "not allowed with argument" in complaint([verb, "phi-2", *other], capsys)

    def test_a_second_word_is_no_model(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "unexpected 'gpt2'" in complaint(["show", "phi-2", "gpt2"], capsys)

    def test_a_value_is_none(self) -> None:
        assert read("run", "--prompt", "phi-2", "gpt2")["model"] == "gpt2"
        with pytest.raises(BadValueError, match="one of the arguments --model --config"):
            read("show", "--dtype", "bf16")

    def test_answers_as_with_its_option(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "phi-2", "--json"]) == 0
        short = capsys.readouterr().out
        assert main(["show", "--model", "phi-2", "--format", "json"]) == 0
        assert capsys.readouterr().out == short


class TestSpellings:
    @pytest.mark.parametrize(
        ("typed", "usual"),
        [
            (["estimate", "gpt2", "--mfu", "45%"], ["estimate", "gpt2", "--utilization", "0.45"]),
            (["estimate", "gpt2", "--gpu", H100, "--n-gpus", "8"], ["estimate", "gpt2", "--hardware", H100, "--gpus", "8"]),
            (["estimate", "gpt2", "--hw", H100, "--num-gpus=8"], ["estimate", "gpt2", "--hardware", H100, "--gpus", "8"]),
            (["estimate", "gpt2", "--budget", "$1M"], ["estimate", "gpt2", "--budget-usd", "1M"]),
            (["plan", "gpt2", "--gpu", H100, "--budget-usd", "1M"], ["plan", "gpt2", "--hardware", H100, "--budget", "1M"]),
            (["show", "gpt2", "--json"], ["show", "gpt2", "--format", "json"]),
            (["show", "gpt2", "--batch-size", "8"], ["show", "gpt2", "--batch", "8"]),
            (["run", "gpt2", "--max-new-tokens", "8", "--lr", "0.1"], ["run", "gpt2", "--new-tokens", "8", "--learning-rate", "0.1"]),
        ],
    )
    def test_mean_what_the_usual_one_means(self, typed: list[str], usual: list[str]) -> None:
        assert read(*typed) == read(*usual)

    @pytest.mark.parametrize("verb", VERBS)
    def test_are_each_in_the_help_once(self, verb: str) -> None:
        parser = verb_parser(verb)
        text = parser.format_help().split("options:", 1)[-1]
        for name, action in parser.actions_by_option.items():
            if name not in action.option_strings:
                words = text.replace(",", " ").replace(";", " ").replace(":", " ").replace(".", " ").split()
                assert words.count(name) == 1, name

    def test_are_each_of_one_option(self) -> None:
        spelled = [name for names in SPELLINGS for name in names]
        assert len(spelled) == len(set(spelled))

    def test_that_do_not_exist_are_answered_by_near_ones(self) -> None:
        with pytest.raises(UnknownNameError, match="unknown option '--num-gpu'; did you mean '--num-gpus'"):
            read("estimate", "gpt2", "--num-gpu", "8")

    def test_a_wrong_value_names_the_option_of_the_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "argument --utilization: expected one argument" in complaint(["estimate", "gpt2", "--mfu"], capsys)


class TestHelp:
    def test_without_a_verb_is_the_groups_and_two_examples_on_one_screen(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 0
        out, err = capsys.readouterr()
        assert not err
        assert [title for line in out.splitlines() if (title := line.partition(":")[0]) in GROUPS] == [*GROUPS]
        assert [verb for verb in VERBS if not re.search(rf"(^ +|: |, ){verb} ", out, re.MULTILINE)] == []
        assert len(EXAMPLES) == 2
        assert len(out.splitlines()) <= 30
        assert max(map(len, out.splitlines())) <= 100

    @pytest.mark.parametrize("example", EXAMPLES)
    def test_an_example_is_a_command(self, example: str) -> None:
        assert read(*example.split())["model"]

    @pytest.mark.parametrize("words", [["help"], ["-h"], ["--help"], ["help", "help"], ["help", "version"]])
    def test_of_the_program(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == main(words) == 0
        out = capsys.readouterr().out
        assert out[: len(out) // 2] == out[len(out) // 2 :]

    @pytest.mark.parametrize(
        "words",
        [
            ["help", "show"],
            ["-h", "show"],
            ["show", "-h"],
            ["show", "phi-2", "-h"],
            ["show", "--seq-len", "-h"],
            ["show", "--modle", "x", "--help"],
            ["show", "-h", "--seq-len", "wrong"],
        ],
    )
    def test_of_a_verb_wherever_it_is_asked_for(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(words) == 0
        assert capsys.readouterr().out == verb_parser("show").format_help()

    def test_of_what_is_no_verb(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "unknown verb 'sohw'; did you mean 'show'?" in complaint(["help", "sohw"], capsys)

    @pytest.mark.parametrize("word", ["version", "--version", "-V"])
    def test_the_version(self, word: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([word]) == 0
        assert capsys.readouterr().out.startswith("sixnd ")


class TestTheProgramsName:
    """As it was started; documents and modules call it `python -m bench`."""

    @pytest.mark.parametrize(
        ("started", "name"),
        [
            ("/usr/bin/sixnd", "sixnd"),
            ("sixnd.exe", "sixnd"),
            ("/a/bench/__main__.py", program.NAME),
            ("train.py", program.NAME),
            ("", program.NAME),
        ],
    )
    def test_is_that_of_the_process(self, started: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", [started])
        assert program.invoked() == name

    @pytest.mark.parametrize(
        "words",
        [
            [],
            ["help", "estimate"],
            ["list"],
            ["show", "gpt-33"],
            ["show", "--modle", "x"],
            ["frobnicate"],
            ["report", "nowhere"],
            ["estimate", "gpt2", "--hardware", H100, "--tokens", "1B", "--gpus", "8", "--utilization", "0.4", "--explain"],
        ],
    )
    def test_is_said_in_whatever_is_said(
        self, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["/somewhere/bin/sixnd"])
        main(words)
        out, err = capsys.readouterr()
        said = " ".join((out + err).split())
        assert "sixnd " in said
        assert program.NAME not in said
        monkeypatch.setattr(sys, "argv", ["__main__.py"])
        main(words)
        out, err = capsys.readouterr()
        assert program.NAME in " ".join((out + err).split())

    def test_of_the_command_that_is_installed(self, tmp_path: Path) -> None:
        script = tmp_path / "sixnd"  # as pip writes it
        script.write_text("import sys\nfrom bench.cli.main import main\nsys.exit(main())\n")
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, str(script), "show", "--modle", "x"], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 2
        assert done.stderr.rstrip().endswith("List them with: sixnd show --help")


class TestUnits:
    @pytest.mark.parametrize(
        ("text", "tokens"),
        [("4k", 4096), ("4K", 4096), ("128k", 131_072), ("1M", 1_048_576), ("0.5k", 512), ("4000", 4000), ("4,096", 4096), ("4e3", 4000)],
    )
    def test_a_length_in_k_is_a_power_of_two(self, text: str, tokens: int) -> None:
        assert parse_length(text, "seq-len") == tokens

    def test_a_count_of_tokens_in_k_is_not(self) -> None:
        assert (parse_count("4k", "tokens"), parse_count("2T", "tokens"), parse_count("15B", "tokens")) == (4000, 2 * 10**12, 15 * 10**9)

    @pytest.mark.parametrize("text", ["4T", "4q", "k", "0.3k", "0", "-4k", "1e30", ""])
    def test_what_is_no_length_is_one_line(self, text: str) -> None:
        with pytest.raises(BadValueError, match=r"^seq-len .*expected a whole number from 1 to 1e\+09, such as 4096 or 4k$"):
            parse_length(text, "seq-len")

    @pytest.mark.parametrize(
        ("words", "option"),
        [
            (["estimate", "llama-2-7b", "--seq-len", "4k"], "seq-len"),
            (["estimate", "llama-2-7b", "--prompt-tokens", "1k", "--new-tokens", "1k"], "prompt-tokens"),
            (["estimate", "llama-2-7b", "--prompt-tokens", "10", "--new-tokens", "1k"], "new-tokens"),
            (["show", "llama-2-7b", "--phase", "decode", "--context-len", "2k"], "context-len"),
            (["show", "t5-3b", "--source-len", "2k"], "source-len"),
        ],
    )
    def test_every_length_says_so(self, words: list[str], option: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*words, "--json"]) == 0
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"· {option} ")]
        assert len(said) == 1
        assert said[0].endswith("tokens: k is 1,024 in a length")

    def test_one_written_out_says_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["show", "llama-2-7b", "--seq-len", "4096", "--json"]) == 0
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("text", ["512seq", "512 seqs", "512sequences", "0.512k seq"])
    def test_a_batch_in_sequences(self, text: str) -> None:
        assert parse_batch(text, "global-batch") == Batch(sequences=512)
        assert read("estimate", *LLAMA, "--global-batch", text)["global_batch"] == Batch(sequences=512)
        assert read("plan", *LLAMA, "--global-batch", text)["global_batch"] == Batch(sequences=512)
        assert read("plan", *LLAMA, "--max-global-batch", text)["max_global_batch"] == Batch(sequences=512)
        assert read("show", "gpt2", "--batch", text)["batch"] == 512

    @pytest.mark.parametrize("text", ["4M", "4Mtokens", "4M tok", "4000000"])
    def test_a_batch_in_tokens(self, text: str) -> None:
        assert parse_batch(text, "global-batch") == Batch(tokens=4_000_000)

    def test_a_batch_of_single_steps_is_of_sequences(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "batch '4Mtokens' counts tokens; expected sequences" in complaint(["show", "gpt2", "--batch", "4Mtokens"], capsys)

    @pytest.mark.parametrize("text", ["seq", "seq512", "512 samples", "1.5seq"])
    def test_what_is_no_batch_is_one_line(self, text: str) -> None:
        with pytest.raises(BadValueError, match=r"^global-batch "):
            parse_batch(text, "global-batch")

    def test_a_limit_in_sequences_is_that_in_tokens(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = []
        for limit in ("256seq", str(256 * 4096)):
            assert main(["plan", "llama-2-7b", "--hardware", H100, "--gpus", "64", "--max-global-batch", limit, "--json"]) == 0
            found.append(capsys.readouterr().out)
        assert found[0] == found[1]

    def test_what_if_takes_the_same_units(self, capsys: pytest.CaptureFixture[str]) -> None:
        plan = ["plan", "llama-2-7b", "--hardware", H100, "--gpus", "64", "--global-batch", "1024seq", "--json"]
        found = []
        for change in ("global_batch=512", "global_batch=512seq", f"global_batch={512 * 4096}tokens"):
            assert main([*plan, "--what-if", change]) == 0
            found.append(capsys.readouterr().out.replace(change, ""))
        assert found[0] == found[1] == found[2]
        assert "is less than one sequence of 4,096 tokens" in complaint([*plan, "--what-if", "global_batch=10tokens"], capsys)


class TestListing:
    @pytest.mark.parametrize(
        ("word", "kind"),
        [
            ("gpus", "hardware"),
            ("GPU", "hardware"),
            ("devices", "hardware"),
            ("device", "hardware"),
            ("model", "models"),
            ("family", "families"),
        ],
    )
    def test_takes_what_people_call_it(self, word: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", word, "--format", "csv"]) == main(["list", kind, "--format", "csv"]) == 0
        out = capsys.readouterr().out
        assert out[: len(out) // 2] == out[len(out) // 2 :]

    def test_alone_says_what_can_be_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        from bench.cli.list import KINDS

        assert main(["list", "--format", "csv"]) == 0
        assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["list", *KINDS]
