"""docs/cli.md, from the parsers themselves: python -m tools.cli_page > docs/cli.md"""

from __future__ import annotations

from bench.cli.verbs import VERBS, help_text, verb_parser
from bench.program import NAME

HEAD = """# Command line

Written by `python -m tools.cli_page > docs/cli.md`; a test fails when it is stale.
"""


def reference() -> str:
    """The whole page: the program's help, then that of each verb."""
    sections = [f"{HEAD}\n```text\n{help_text()}\n```"]
    sections += [f"## {verb}\n\n```text\n{verb_parser(verb).format_help().rstrip()}\n```" for verb in VERBS]
    return "\n\n".join(sections) + f"\n\n`sixnd` is the same program as `{NAME}`.\n"


if __name__ == "__main__":
    print(reference(), end="")
