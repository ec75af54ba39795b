"""What every command does alike: progress, errors in one line, Ctrl-C, results that are printed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from linconv.errors import LinconvError

__all__ = [
    "EXIT_STATUS",
    "PATIENCE",
    "BadInput",
    "Display",
    "json_option",
    "model_shapes",
    "printing",
    "told",
]

INTERRUPTED = 130

PATIENCE = 2.0
"""Seconds that a command may take without showing how far it is."""

# In click's help texts, a line with a backspace keeps the line ends of the paragraph below it.
EXIT_STATUS = """\b
Exit status:
  0    {passed}
  1    {failed}
  2    wrong usage, or input or output that cannot be used
  70   an error inside linconv, shown with its traceback
  130  interrupted by Ctrl-C
"""
"""The end of a command's help, with what its results are where it leaves with 0 and with 1."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the results as JSON, and nothing else."
)


def model_shapes(text: str | None) -> tuple[tuple[int, ...], ...] | None:
    """Read shapes such as ``3,224,224``, several with semicolons between them."""
    if text is None:
        return None
    try:
        return tuple(tuple(int(n) for n in part.split(",")) for part in text.split(";"))
    except ValueError:
        raise LinconvError(
            f"--input-shape must be whole numbers with commas between them, one sample without "
            f"batch axis; got {text!r}; write it as 3,224,224 (several inputs: 3,8,8;16)"
        ) from None


class BadInput(click.ClickException):
    """An error of ours, told in one line; exit status 2, as for wrong usage."""

    exit_code = 2


@contextmanager
def told(interrupted: str) -> Iterator[None]:
    """Tell an error of ours in one line, and Ctrl-C by the words `interrupted`."""
    try:
        yield
    except LinconvError as error:
        raise BadInput(" ".join(str(error).split())) from error
    except KeyboardInterrupt as error:
        click.echo(interrupted, err=True)
        raise click.exceptions.Exit(INTERRUPTED) from error


@contextmanager
def printing(kept: str = "redirect it to a file") -> Iterator[None]:
    """Tell a standard output that cannot be written; `kept` says where the results are.

    click would leave with 1 for a closed pipe, as if a check had failed.
    """
    try:
        yield
    except OSError as error:
        raise BadInput(f"standard output cannot be written: {error.strerror}; {kept}") from error


class Display:
    """Progress on standard error: a bar on a terminal, a line for each step elsewhere.

    Parameters
    ----------
    after : float
        Seconds before anything is shown; what ends sooner shows nothing.
    """

    def __init__(self, after: float = 0.0) -> None:
        console = Console(stderr=True)
        self._lock = threading.Lock()
        self._shown = after <= 0
        self._ended = False
        self._share, self._what, self._line = 0.0, "", ""
        self._bar: Progress | None = None
        self._timer = None if self._shown else threading.Timer(after, self._show)
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
            self._bar = Progress(*columns, console=console, transient=True)
            self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> Display:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        elif self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._bar is not None and self._shown:
                self._bar.stop()

    def __call__(self, share: float, what: str) -> None:
        """Take the share that is done, 0 to 1, and what is next."""
        with self._lock:
            self._share, self._what = share, what
            self._tell()

    def _show(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._shown = True
            if self._bar is not None:
                self._bar.start()
            self._tell()

    def _tell(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self._share, description=f"{self._what:<40}")
        elif self._shown and self._what != self._line:
            self._line = self._what
            with suppress(OSError):  # without a place to show progress, the work goes on
                click.echo(f"{100 * self._share:3.0f} %  {self._what}", err=True)
