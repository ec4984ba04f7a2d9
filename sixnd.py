"""What a deep-learning model costs to train and to run: estimated, measured, cross-checked.

    import sixnd
    answer = sixnd.estimate(model="llama-3-8b", tokens="2T", hardware="h100-sxm5-80gb", gpus=256)
    answer.wall_days, answer.tables(), answer.to_dict()

The functions are the verbs of `python -m bench` and ask the code that those ask. Nothing is imported before it is used;
torch is imported by `measure`, `count` and what watches a training, and by `show` for a class without an op table.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; typing itself would cost more than this module
if TYPE_CHECKING:
    from bench.callbacks import SixndCallback, Watch, lightning_callback, watch
    from bench.library.claims import check_claim, diagnose
    from bench.library.estimates import compare_hardware, estimate, fit, plan, serve, show
    from bench.library.measurements import compare, count, disclose, measure, report

__all__ = [
    "SixndCallback",
    "Watch",
    "check_claim",
    "compare",
    "compare_hardware",
    "count",
    "diagnose",
    "disclose",
    "estimate",
    "fit",
    "lightning_callback",
    "measure",
    "plan",
    "report",
    "serve",
    "show",
    "watch",
]

_MODULES = {
    **dict.fromkeys(("check_claim", "diagnose"), "bench.library.claims"),
    **dict.fromkeys(("compare_hardware", "estimate", "fit", "plan", "serve", "show"), "bench.library.estimates"),
    **dict.fromkeys(("compare", "count", "disclose", "measure", "report"), "bench.library.measurements"),
    **dict.fromkeys(("SixndCallback", "Watch", "lightning_callback", "watch"), "bench.callbacks"),
}
"""Name -> the module that has it."""


def __getattr__(name: str) -> object:
    """Import a name when it is asked for first.

    Raises:
        AttributeError: no such name.
        ImportError: a file or folder of the user's hides a package of this project.
    """
    if name not in _MODULES:
        raise AttributeError(f"module 'sixnd' has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    _demand_own_packages()
    value: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _demand_own_packages() -> None:
    """Raise ImportError where one of this project's packages is found beside another file than this one."""
    import os
    from importlib.util import find_spec

    here = os.path.dirname(os.path.realpath(__file__))
    for package in ("estimators", "bench", "reports"):
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if os.path.realpath(os.path.join(here, package)) not in map(os.path.realpath, places):
            place = places[0] if places else spec.origin if spec else None
            mend = "rename it, or start Python in another folder" if place else "install sixnd again"
            raise ImportError(f"sixnd needs its own package {package!r} in {here}; Python finds {place or 'none'} instead: {mend}")
