"""Completion of verbs, options, models and hardware in a shell: prints what that shell reads.

bash:  source <(python -m bench completion bash)
zsh:   source <(python -m bench completion zsh)
fish:  python -m bench completion fish | source

As a line of ~/.bashrc, ~/.zshrc (after compinit) or ~/.config/fish/config.fish it holds for every shell. What is completed
is asked of the program itself, so it is never older than the program; it belongs to the command `sixnd`.
"""

from __future__ import annotations

import argparse

from bench.cli.output import Output
from bench.program import SHORT_NAME
from estimators.frozen import frozen

WORDS = "words"
"""What a script asks for: the candidates of a command line, one a line."""

SCRIPTS = {
    "bash": r"""_sixnd() {
    local IFS=$'\n'
    COMPREPLY=($(sixnd completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _sixnd sixnd
""",
    "zsh": r"""#compdef sixnd
_sixnd() {
    local -a found
    found=("${(@f)$(sixnd completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -- $found; else _files; fi
}
compdef _sixnd sixnd
""",
    "fish": r"""function __sixnd_found
    set -l words (commandline -opc) (commandline -ct)
    set -l found (sixnd completion words -- $words[2..-1] 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c sixnd -f -a '(__sixnd_found)'
""",
}
"""Shell -> what it reads. Each hands over the words up to the cursor, and falls back to files where no word is known."""


@frozen
class Options:
    """Options of `completion`.

    Attributes:
        shell: or WORDS, for the command line that is in `words`.
    """

    shell: str
    words: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `completion`."""
    shells = (*SCRIPTS, WORDS)
    parser.add_argument("shell", choices=shells, metavar="|".join(SCRIPTS), help=f"the shell; `{WORDS} -- WORD...` is what the scripts ask")
    parser.add_argument("words", nargs="*", metavar="WORD", help=f"of a command line of `{SHORT_NAME}`, the last one begun")


def run(options: Options, out: Output) -> int:
    """Print the script, or the candidates."""
    if options.shell != WORDS:
        out.emit_text(SCRIPTS[options.shell])
        return 0
    from bench.cli.candidates import candidates

    out.emit_text("".join(f"{word}\n" for word in candidates(options.words)))
    return 0
