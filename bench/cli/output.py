"""Where a verb's tables go: standard output or a file, in one of the formats."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from bench import streams, terminal
from bench.cli import appearance
from bench.program import as_invoked, command_line
from bench.records import atomic_file
from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import replace
from estimators.printable import printable, printable_lines
from reports.render import RENDERERS, render
from reports.table import Table

if TYPE_CHECKING:
    from reports.pages.picture import Picture
    from reports.screen import Line, Screen

SUFFIXES = {".txt": "text", ".md": "md", ".csv": "csv", ".json": "json", ".html": "html", ".htm": "html", ".tex": "latex"}
"""The end of a file's name -> the format that is written there unless --format says another."""

MEND = "name a file in a writable folder with --output"
MEND_PLOT = "name a file in a writable folder with --plot"
PICTURE_SUFFIXES = (".svg", ".png")
"""What a file of --plot may end in."""

CLOSED = "cannot write to standard output: it is closed; write to a file with --output FILE"


class Output:
    """Standard output or a file, the format of the answer that goes there, and how much of it.

    Attributes:
        format: a key of RENDERERS, or a form of the verb's own.
        file: path of the file, or None for standard output.
        verbose, quiet: of text: every table instead of one screen, or the answer's sentence alone.
        plot: file for the answer's pictures alone; None for none.
        draws: whether pictures are looked at, for which a verb may work out more than for text.
        words: what was typed after the program's name; the last line of a page.
        named: a name on the command line -> a line on what it was taken for; at the head of the answer.
    """

    def __init__(
        self,
        format: str | None = None,
        file: str | None = None,
        *,
        verbose: bool = False,
        quiet: bool = False,
        plot: str | None = None,
        words: Sequence[str] = (),
    ) -> None:
        self.format = format or SUFFIXES.get(PurePath(file or "").suffix.lower(), "text")
        self.file, self.verbose, self.quiet, self.plot, self.words = file, verbose, quiet, plot, words
        self.draws = plot is not None or self.format == "html"
        self.named: Mapping[str, str] = {}

    @property
    def shows_everything(self) -> bool:
        """Whether more is read of the answer than one screen."""
        return self.verbose or self.format != "text"

    def expect_writable(self) -> None:
        """Find out before minutes of work whether there is a file, or a standard output, to write to.

        Raises:
            UnavailableError: there is not.
        """
        if self.file is None and sys.stdout is None:
            raise UnavailableError(CLOSED)
        if self.file is not None:
            atomic_file.expect_writable(self.file, mend=MEND)
        if self.plot is not None:
            atomic_file.expect_writable(self.plot, mend=MEND_PLOT)

    def emit(
        self, tables: Sequence[Table], screen: Screen | None = None, pictures: Sequence[Picture] = (), *, data: Sequence[Table] = ()
    ) -> None:
        """Print the answer, or write it; and draw what --plot asks for.

        Args:
            tables: all of it.
            screen: what a person is shown of it first; None shows all.
            pictures: of the tables' figures, the one that says most first.
            data: tables that are too long to be read, which pictures show: json and csv alone hold them.

        Raises:
            UnavailableError: a file or standard output cannot be written, or matplotlib is not installed for --plot.
            BadValueError: --plot of an answer without a picture.
        """
        tables, screen = self.headed(tables), self.led(screen)
        if self.plot is not None:
            self._draw(self.plot, [*tables, *data], pictures)
        if self.format == "html":
            self.emit_text(self.page(tables, screen, pictures, data=data))
            return
        if self.format in ("json", "csv"):
            tables = [*tables, *data]
        if self.format == "text":
            tables = [table.reworded(as_invoked) for table in tables]
            screen = screen and screen.reworded(as_invoked)
        width = appearance.num_columns(None if self.file else sys.stdout)
        if self.format == "text" and self.quiet:
            self._emit_lines([(screen.answer if screen else tables[0].title, "answer")])
        elif self.format == "text" and screen is not None and not self.verbose:
            from reports.screen import HEIGHT, screen_lines

            height = sys.maxsize if screen.is_list and (self.file or not terminal.is_one(sys.stdout)) else HEIGHT
            self._emit_lines(screen_lines(screen, width, num_tables=len(tables), height=height))
        else:
            self.emit_text(render(tables, self.format, width=width) + "\n")

    def page(self, tables: Sequence[Table], screen: Screen | None, pictures: Sequence[Picture] = (), *, data: Sequence[Table] = ()) -> str:
        """The document that --format html writes, whose last line is the command. Arguments as those of `emit`."""
        from reports.pages.page import html_page  # deferred: only pages need it

        return html_page(tables, screen, pictures, data=data, command=command_line(self.words) if self.words else "") + "\n"

    def _draw(self, file: str, tables: Sequence[Table], pictures: Sequence[Picture]) -> None:
        """Write the pictures; a line on standard error names those beyond the first. Raises BadValueError, UnavailableError."""
        from reports.pages.picture import files_of

        if not pictures:
            raise BadValueError("--plot: this answer has no picture; leave it out")
        suffix = PurePath(file).suffix.lower()
        for place, (name, picture) in enumerate(zip(files_of(file, len(pictures)), pictures, strict=True)):
            atomic_file.write(name, picture.file(suffix, tables), mend=MEND_PLOT)
            if place:
                streams.remark(f"· {name}: {picture.title}")

    def _emit_lines(self, lines: Sequence[Line]) -> None:
        lines = [(printable(text), style) for text, style in lines]
        if self.file is None and appearance.has_colours(sys.stdout):
            _to_stdout("".join(f"{appearance.painted(line)}\n" for line in lines))
        else:
            self.emit_text("".join(f"{text}\n" for text, _ in lines))

    def headed(self, tables: Sequence[Table]) -> list[Table]:
        """The tables, with what names were taken for as the first conditions, and in json as `taken_for`."""
        if not self.named or not tables:
            return list(tables)
        first = tables[0]
        facts = {**first.facts, "taken_for": dict(self.named)}
        return [replace(first, conditions=[*self.named.values(), *first.conditions], facts=facts), *tables[1:]]

    def led(self, screen: Screen | None) -> Screen | None:
        """The screen, with what names were taken for right below its answer."""
        return replace(screen, lead=[*self.named.values(), *screen.lead]) if screen and self.named else screen

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
    """The tables that json has, as they are, for whoever calls a verb as a function.

    Attributes:
        tables: what the verb emitted last.
        data: beside them, too long to be read.
        screen: what a person is shown of it first; None for all.
        pictures: of the tables' figures, where the verb was to draw them.
    """

    def __init__(self, *, draws: bool = False, words: Sequence[str] = ()) -> None:
        super().__init__("json", words=words)
        self.draws = draws
        self.tables: list[Table] = []
        self.data: list[Table] = []
        self.screen: Screen | None = None
        self.pictures: Sequence[Picture] = ()

    @property
    def shows_everything(self) -> bool:
        """Always."""
        return True

    def emit(
        self, tables: Sequence[Table], screen: Screen | None = None, pictures: Sequence[Picture] = (), *, data: Sequence[Table] = ()
    ) -> None:
        """Keep the tables, the screen and the pictures."""
        self.tables, self.data = self.headed(tables), list(data)
        self.screen, self.pictures = self.led(screen), pictures


def add_arguments(parser: argparse.ArgumentParser, *, has_pictures: bool = False, forms: Collection[str] = ()) -> None:
    """--format and --output, the same for every verb that prints a table; --out where --output is a verb's own.

    Args:
        has_pictures: whether the verb's answers may have some; then it takes --plot.
        forms: further formats of the verb, which it writes itself.
    """
    group = parser.add_argument_group("output")
    word = "--out" if "--output" in parser._option_string_actions else "--output"
    formats = tuple(dict.fromkeys((*RENDERERS, *forms)))
    group.add_argument(
        "--format",
        choices=formats,
        metavar="|".join(formats),
        help=f"of the answer; what the name of {word} ends in, else text",
    )
    group.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    group.add_argument(
        word, dest="output", metavar="FILE", help="write the result there (whole or not at all) instead of to standard output"
    )
    if has_pictures:
        group.add_argument(
            "--plot",
            type=_picture_file,
            metavar="FILE",
            help="draw the picture there, SVG or PNG by the name's end; of several, the first; the others beside it as FILE-2, ...",
        )
    length = group.add_mutually_exclusive_group()
    length.add_argument("-v", "--verbose", action="store_true", help="text: every table and note, instead of one screen")
    length.add_argument("-q", "--quiet", action="store_true", help="text: the answer's first line alone")


def _picture_file(name: str) -> str:
    """A file that a picture can be written to."""
    if PurePath(name).suffix.lower() not in PICTURE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{name[:80]!r} names no picture; expected a file that ends in .svg or .png")
    return name


def to_stdout(text: str) -> None:
    """Print a text that is whole as it is.

    Raises:
        UnavailableError: standard output cannot be written.
        BrokenPipeError: its reader has gone.
    """
    _to_stdout(printable_lines(text))


def _to_stdout(text: str) -> None:
    if sys.stdout is None:
        raise UnavailableError(CLOSED)
    try:
        streams.write(sys.stdout, text, "replace")
    except ValueError:
        raise UnavailableError(CLOSED) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnavailableError(f"cannot write to standard output: {error.strerror}; write to a file with --output FILE") from None
