"""Ctrl-C, and other signals that ask a run to end: an exception, which unwinds what is open, whenever they come."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

AGAIN = 0.2  # seconds after which an interrupt that somebody swallowed is raised anew
NAMES = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
SAID = {getattr(signal, name): said for name, said in NAMES.items() if hasattr(signal, name)}
REPEATED = hasattr(signal, "setitimer")  # not on Windows


class Interrupt(KeyboardInterrupt):
    """What a signal raises. After a plain `KeyboardInterrupt` in code that came as text, as that of dataclasses does,
    Python ends by the signal whatever became of it.
    """


@dataclass
class Interruption:
    """The signal that asked a run to end, if one did."""

    number: int | None = None
    over: bool = False  # nothing is left that could be interrupted

    @property
    def status(self) -> int:
        """The exit status, as a shell has it: 130 for Ctrl-C."""
        return 128 + (self.number or signal.SIGINT)

    @property
    def said(self) -> str:
        """What happened, in a word."""
        return SAID[signal.Signals(self.number or signal.SIGINT)]


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Have signals raise an `Interrupt`, and note the first. A signal that is ignored (nohup) stays so.

    Imports and callbacks may turn the exception into another or lose it. Whoever asks finds the signal noted, and it
    is raised anew until it is on its way out.
    """
    seen = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if seen.over:
            return
        seen.number = seen.number or number
        if REPEATED:
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
        if not _on_its_way():
            raise Interrupt

    def unraisable(what: Any) -> None:
        if seen.number is None:  # an interrupt in a callback comes again; nobody needs to read of it
            shown(what)

    shown, sys.unraisablehook = sys.unraisablehook, unraisable
    signals = [number for number in SAID if signal.getsignal(number) is not signal.SIG_IGN]
    signals += [signal.SIGALRM] if REPEATED else []
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield seen
    finally:
        seen.over = True
        if REPEATED:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = shown


def deaf() -> None:
    """Ignore the signals: what remains is the end of the process, which would print a traceback."""
    for number in SAID:
        signal.signal(number, signal.SIG_IGN)


def _on_its_way() -> bool:
    """Whether the interrupt is being handled: something that it unwinds, a store say, is putting itself in order."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
