"""The questions of estimate, plan, fit, serve and compare-hardware as forms in a browser, on this machine alone.

    python -m bench web
    python -m bench web --port 8600 --no-browser

The forms have the options of the verbs under their own names; the answer is the verb's page, the address holds the question, and
the command line that gives the same answer stands beside it. Options that name files are left to the command line. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import socket

from bench.cli import arguments
from bench.cli.output import Output
from bench.machine.ranks import say
from estimators.errors import BadValueError, UnavailableError
from estimators.frozen import frozen

USUAL_PORT = 8642
MAX_PORT = 65535


@frozen
class Options:
    """Options of `web`."""

    port: int
    no_browser: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `web`."""
    parser.add_argument(
        "--port",
        type=arguments.count("port", maximum=MAX_PORT),
        default=USUAL_PORT,
        metavar="NUM",
        help=f"of 127.0.0.1, this machine's own address; {USUAL_PORT} by default",
    )
    parser.add_argument("--no-browser", action="store_true", help="open no browser; the address is printed in any case")


def run(options: Options, out: Output) -> int:
    """Serve the forms until interrupted. Raises BadValueError, UnavailableError."""
    if out.file is not None or out.format != "text":
        raise BadValueError("web shows its answers in a browser; leave --format and --output out")
    from bench.web import app  # deferred, as every verb's work

    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((app.HOST, options.port))
        except OSError as error:
            raise UnavailableError(f"cannot serve on port {options.port}: {error.strerror}; name another with --port") from None
    address = f"http://{app.HOST}:{options.port}/ answers on this machine until Ctrl-C"
    app.serve(options.port, show=not options.no_browser, ready=lambda: say(address))
    return 0
