"""Hyper-parameters of the article's models on the command line, and what a run says of itself before torch is loaded."""

from __future__ import annotations

import argparse

from bench.cli.arguments import count, positive
from bench.records.request import Request
from bench.sampling import presets


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a training from the article."""
    training = parser.add_argument_group("hyper-parameters of the article's models")
    training.add_argument("--epochs", type=count("epochs", maximum=10**9), metavar="NUM", help="passes over the training data")
    training.add_argument("--learning-rate", type=positive("learning-rate", 1000), metavar="RATE", help="of the optimizer")
    training.add_argument("--neurons", type=count("neurons", maximum=10**9), metavar="NUM", help="per hidden layer")
    training.add_argument("--hidden-layers", type=count("hidden-layers", maximum=10**9), metavar="NUM", help="how many")
    training.add_argument("--days", type=count("days", maximum=10**9), metavar="NUM", help="days that a deep network looks back on")
    training.add_argument(
        "--train-days",
        type=count("train-days", maximum=10**9),
        metavar="NUM",
        help="days of views to train on, the last before the held-out ones; all of them by default",
    )
    training.add_argument("--data", metavar="FILE", help="your own views.csv (date,views) or spam.csv; synthetic data otherwise")


def promise(request: Request) -> str:
    """What is about to be done and how long it takes, before torch is loaded, which is the first part of it."""
    if request.config.get("model_type") == "dense_network":
        return "loading torch, measuring this machine's rates, training: a quarter of a minute, longer where other programs run"
    if request.is_article:
        return "loading torch, measuring this machine's rates, training: two minutes, fewer on many cores or a GPU"
    timed_s = request.max_time_s or presets.preset(request.preset).max_time_s
    return f"loading torch, counting, measuring this machine's rates; then at most about {timed_s:.0f} s for each phase that is timed"
