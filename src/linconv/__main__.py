"""The entry point of the command `linconv` and of `python -m linconv`."""

from __future__ import annotations

import os
import sys
import traceback

try:
    from linconv.cli import linconv as command
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"click", "rich"}:
        raise
    absent: str | None = error.name
else:
    absent = None

__all__ = ["main"]

INTERNAL_ERROR = 70


def main() -> None:
    """Run the command line, and leave with its exit status.

    An exception that nobody foresaw gives the status 70, EX_SOFTWARE of sysexits.h: with Python's
    own, 1, it would read as a figure that is not met.
    """
    if absent is not None:
        print(
            f'the command line needs the package {absent}; run: pip install "linconv[study]"',
            file=sys.stderr,
        )
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        # A terminal without, say, the multiplication sign shows a question mark, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if sys.stdout is None:  # what Python makes of one that is closed
        print("Error: standard output is closed; redirect it to a file", file=sys.stderr)
        sys.exit(2)
    status: int | str | None = INTERNAL_ERROR
    try:
        command(prog_name="linconv")
    except SystemExit as left:
        status = left.code
    except OSError as error:
        if error.filename is None:  # no file: a stream
            print(f"Error: standard output cannot be written: {error.strerror}", file=sys.stderr)
            status = 2
        else:
            traceback.print_exc()
    except Exception:
        traceback.print_exc()
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
        status = 2
    sys.exit(status)


def _discard_output() -> None:
    """Send what is left of the output nowhere: Python would fail to write it again at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


if __name__ == "__main__":
    main()
