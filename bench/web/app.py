"""The forms in a browser: pages of NiceGUI on a loopback address, which ask the verbs and show their pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from html import escape
from itertools import groupby
from typing import Any

from bench.web.answer import Answered, answered
from bench.web.question import ASKED, FIRST, Field, command, fields, link, not_asked, purpose
from estimators.extras import needed_by
from estimators.facts.registry import hardware_ids, model_ids

HOST = "127.0.0.1"
ANSWERS = "/answers"

FITTED = """() => {
  const frame = document.querySelector('iframe.answer'), page = frame.contentDocument;
  const fit = () => { frame.style.height = page.documentElement.scrollHeight + 24 + 'px'; };
  fit();
  frame.contentWindow.addEventListener('resize', fit);
  page.addEventListener('toggle', fit, true);
}"""
"""An answer is as high as it is long: one page scrolls, not two."""

STYLE = """
.nicegui-content { max-width: 72rem; margin: 0 auto; padding: 1rem; width: 100%; align-items: stretch; gap: .75rem }
.asked { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(16rem, 100%), 1fr)); gap: .25rem 1rem; width: 100% }
.command { font-family: monospace; overflow-wrap: anywhere; white-space: pre-wrap }
iframe.answer { width: 100%; min-height: 20rem; border: 0 }
"""

SUGGESTED: Mapping[str, Callable[[], Any]] = {"model": model_ids, "hardware": hardware_ids}
"""Field -> the names that are offered while one is typed."""


@lru_cache(maxsize=64)
def _answer(verb: str, values: tuple[tuple[str, str], ...]) -> Answered:
    """The form and the frame below it ask alike."""
    return answered(verb, dict(values))


def serve(port: int, *, show: bool, ready: Callable[[], None]) -> None:
    """Answer until interrupted, on this machine alone: what another site sends here by a name of its own is refused.

    Args:
        show: whether a browser is opened.
        ready: called when everything that answering takes is there.

    Raises:
        MissingPackageError: NiceGUI is not installed.
    """
    with needed_by("web"):
        from nicegui import app, ui
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse

    ready()

    def offer(verb: str) -> None:
        def alone(request: Any) -> Any:
            """An answer without its form, as `--format html` writes it."""
            found = _answer(verb, tuple(request.query_params.items()))
            error = f"<!doctype html><meta charset=utf-8><title>error</title><p>{escape(found.error)}</p>"
            return HTMLResponse(error if found.error else found.page, status_code=400 if found.error else 200)

        async def form() -> None:
            await _Form(ui, verb, dict(ui.context.client.request.query_params)).show()

        app.add_route(link(verb, {}, to=ANSWERS), alone)
        ui.page(link(verb, {}), title="sixnd")(form)

    def unknown(request: Any, _: Exception) -> Any:
        return PlainTextResponse(f"error: {not_asked(request.url.path)}\n", status_code=404)

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.add_exception_handler(404, unknown)
    app.add_route("/", lambda _: RedirectResponse(link(ASKED[0], {})))
    for verb in ASKED:
        offer(verb)
    ui.run(host=HOST, port=port, show=show, reload=False, show_welcome_message=False, title="sixnd", dark=None)


class _Form:
    """The form of a verb, filled with what its link holds, and below it the answer."""

    def __init__(self, ui: Any, verb: str, values: Mapping[str, str]) -> None:
        self._ui, self._verb, self._values = ui, verb, values
        self._inputs: dict[str, Any] = {}

    async def show(self) -> None:
        """Draw it, and answer where something is asked."""
        ui = self._ui
        ui.add_css(STYLE)
        with ui.row().classes("gap-4"):
            for other in ASKED:
                ui.link(other, link(other, {})).classes("font-bold" if other == self._verb else "")
        ui.label(purpose(self._verb)).classes("text-lg")
        rest = self._draw_first()
        ui.button("Answer", on_click=lambda: ui.navigate.to(link(self._verb, self._asked()))).classes("self-start")
        self._draw_rest(rest)
        if self._values:
            await self._draw_answer()

    def _draw_first(self) -> list[Field]:
        """What is asked first; the other fields are returned."""
        every = fields(self._verb)
        first = [field for name in FIRST[self._verb] for field in every if field.name == name]
        self._draw_inputs(first)
        return [field for field in every if field not in first]

    def _draw_rest(self, rest: list[Field]) -> None:
        """The other fields, folded away, in the groups of the help."""
        with self._ui.expansion("more options", value=any(field.name in self._values for field in rest)):
            for group, members in groupby(rest, key=lambda field: field.group):
                self._ui.label(group).classes("font-bold mt-4")
                self._draw_inputs(list(members))

    def _draw_inputs(self, shown: list[Field]) -> None:
        with self._ui.element("div").classes("asked"):
            for field in shown:
                self._inputs[field.name] = self._input(field)

    def _input(self, field: Field) -> Any:
        given, label = self._values.get(field.name, ""), f"--{field.name}"
        box: Any
        if field.is_switch:
            box = self._ui.checkbox(label, value=given == "on")
        elif field.choices:
            box = self._ui.select(["", *field.choices], label=label, value=given if given in field.choices else "")
        else:
            offered = [*SUGGESTED[field.name]()] if field.name in SUGGESTED else None
            box = self._ui.input(label, value=given, placeholder=field.example, autocomplete=offered)
        box.tooltip(field.help)
        return box.props(f'name="{field.name}"')

    def _asked(self) -> dict[str, str]:
        return {name: ("on" if box.value is True else str(box.value or "").strip()) for name, box in self._inputs.items()}

    async def _draw_answer(self) -> None:
        from nicegui import run  # as `serve` has found it

        spinner = self._ui.spinner(size="lg")
        await self._ui.context.client.connected()  # the form is seen while the answer is worked out
        found = await run.io_bound(_answer, self._verb, tuple(self._values.items()))
        spinner.delete()
        if found.error:
            self._complain(f"error: {found.error}")
            return
        self._ui.label("The same answer on the command line; the address of this page holds the question:")
        self._ui.label(command(self._verb, self._values)).classes("command")
        alone = link(self._verb, self._values, to=ANSWERS)
        self._ui.link("the answer as a page of its own", alone, new_tab=True)
        frame = self._ui.element("iframe").classes("answer").props('title="the answer"')
        frame.props["src"] = alone
        frame.on("load", js_handler=FITTED)

    def _complain(self, line: str) -> None:
        self._ui.label(line).classes("text-negative").props("role=alert")
