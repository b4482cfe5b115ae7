"""The command line: `scrubbing score induction`, and what became of it: `scrubbing history`.

Nothing is imported here: from the first moment on, an interrupt is one line and a status.
"""


def main() -> None:
    """The console script."""
    import _signal  # type: ignore[import-not-found]  # what the module signal is made of, and loaded already

    before = {number: _signal.getsignal(number) for number in (_signal.SIGINT, _signal.SIGTERM)}
    for number, handler in before.items():
        if handler != _signal.SIG_IGN:
            _signal.signal(number, _end_at_once)
    try:
        from scrubbing.cli.running import run_command

        run_command(_command_line)
    finally:
        for number, handler in before.items():
            _signal.signal(number, handler)


def _end_at_once(number: int, frame: object) -> None:
    """End a process in which nothing has begun."""
    import os

    os.write(2, b"scrubbing: interrupted\n")
    os._exit(128 + number)


def _command_line(**options: bool) -> object:
    from scrubbing.cli.commands import app

    return app(prog_name="scrubbing", **options)
