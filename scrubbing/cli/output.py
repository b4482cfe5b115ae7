"""What goes to a terminal: all of it passes here, where nothing in it can steer one and every number is shown."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.text import Text

from scrubbing.cli.running import OutputError
from scrubbing.errors import printable

WIDTH = 80


class Terminal(Console):
    """A console that writes out what would steer it, in whatever it is given to show."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does."""
        return super().render(_harmless(renderable) if isinstance(renderable, Text) else renderable, options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does."""
        return _harmless(super().render_str(text, **options))

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints, where rich would end the process."""
        raise BrokenPipeError


def show(renderable: RenderableType) -> None:
    """Print to standard output. A terminal too narrow for a table gets a table that is wider: no number is cut off.

    Raises `OutputError` where nothing can be written.
    """
    terminal = _terminal()
    roomy = terminal.options.update(width=WIDTH)
    terminal.width = max(terminal.width, Measurement.get(terminal, roomy, renderable).minimum)
    with _telling():
        terminal.print(renderable, crop=False)


def show_for_programs(text: str) -> None:
    """Print text as it is, without regard to the terminal's width. Raises `OutputError` as `show`."""
    with _telling():
        _terminal().out(text, highlight=False)


def _terminal() -> Terminal:
    if sys.stdout is None:
        raise OutputError("standard output is closed, so that the results could not be printed")
    return Terminal()


@contextmanager
def _telling() -> Iterator[None]:
    """Say in words why something could not be printed."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the results could not be printed: {error.strerror}") from None


def _harmless(text: Text) -> Text:
    if all(line.isprintable() for line in text.plain.split("\n")):
        return text
    shown = "\n".join(map(printable, text.plain.split("\n")))
    return Text(shown, text.style, justify=text.justify, overflow=text.overflow, no_wrap=text.no_wrap, end=text.end)
