"""The entry point of the command `linconv` and of `python -m linconv`."""

from __future__ import annotations

import sys

try:
    from linconv.cli import linconv as command
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] not in {"click", "rich"}:
        raise
    absent: str | None = error.name
else:
    absent = None

__all__ = ["main"]


def main() -> None:
    """Run the command line, and leave with its exit status."""
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
    command(prog_name="linconv")


if __name__ == "__main__":
    main()
