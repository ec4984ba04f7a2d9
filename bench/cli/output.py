"""Where a verb's tables go: standard output or a file, in one of the formats."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from bench import streams
from bench.program import as_invoked
from bench.records import atomic_file
from estimators.errors import UnavailableError
from estimators.printable import printable_lines
from reports.render import RENDERERS, render
from reports.table import Table

FILE_WIDTH, MIN_WIDTH, MAX_WIDTH = 120, 60, 140
"""Columns of text in a file or pipe, and the limits in a terminal."""


MEND = "name a file in a writable folder with --output"
CLOSED = "cannot write to standard output: it is closed; write to a file with --output FILE"


class Output:
    """Standard output or a file, and the format of the tables that go there.

    Attributes:
        format: a key of RENDERERS.
        file: path of the file, or None for standard output.
    """

    def __init__(self, format: str = "text", file: str | None = None) -> None:
        self.format, self.file = format, file

    def expect_writable(self) -> None:
        """Find out before minutes of work whether there is a file, or a standard output, to write to.

        Raises:
            UnavailableError: there is not.
        """
        if self.file is None and sys.stdout is None:
            raise UnavailableError(CLOSED)
        if self.file is not None:
            atomic_file.expect_writable(self.file, mend=MEND)

    def emit(self, tables: Sequence[Table]) -> None:
        """Print the tables, or write them.

        Raises:
            UnavailableError: the file or standard output cannot be written.
        """
        width = _text_width() if self.file is None else FILE_WIDTH
        if self.format == "text":
            tables = [table.reworded(as_invoked) for table in tables]
        self.emit_text(render(tables, self.format, width=width) + "\n")

    def emit_text(self, text: str) -> None:
        """Print a text that is whole as it is, or write it.

        Raises:
            UnavailableError: the file or standard output cannot be written.
        """
        if self.file is None:
            to_stdout(text)
        else:
            atomic_file.write(self.file, printable_lines(text), mend=MEND)


class Kept(Output):
    """The tables as they are, for whoever calls a verb as a function.

    Attributes:
        tables: what the verb emitted last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Table] = []

    def emit(self, tables: Sequence[Table]) -> None:
        """Keep the tables."""
        self.tables = list(tables)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--format and --output, the same for every verb that prints a table."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=tuple(RENDERERS), default="text", metavar="|".join(RENDERERS), help="of the tables; text by default"
    )
    group.add_argument("--json", action="store_const", dest="format", const="json", default="text", help="the same as --format json")
    group.add_argument("--output", metavar="FILE", help="write the result there (whole or not at all) instead of to standard output")


def to_stdout(text: str) -> None:
    """Print a text that is whole as it is.

    Raises:
        UnavailableError: standard output cannot be written.
        BrokenPipeError: its reader has gone.
    """
    if sys.stdout is None:
        raise UnavailableError(CLOSED)
    try:
        streams.write(sys.stdout, printable_lines(text), "replace")
    except ValueError:
        raise UnavailableError(CLOSED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnavailableError(f"cannot write to standard output: {error.strerror}; write to a file with --output FILE") from None


def _text_width() -> int:
    """Columns of the terminal, within what is pleasant to read; a pipe gets the same on every machine."""
    try:
        return max(MIN_WIDTH, min(MAX_WIDTH, os.get_terminal_size(sys.stdout.fileno()).columns))
    except (OSError, ValueError, AttributeError):
        return FILE_WIDTH
