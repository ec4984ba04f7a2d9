"""`python -m bench VERB`; the grammar is in bench.cli.main."""

from bench.cli.main import process

raise SystemExit(process())
