"""What commands share: progress that waits for a slow run, errors in one line, Ctrl-C."""

import io
import threading

import pytest

click = pytest.importorskip("click", reason="the command line needs click")
pytest.importorskip("rich", reason="the command line prints with rich")

from linconv.commands import running  # noqa: E402
from linconv.errors import GeometryError  # noqa: E402


class Timer:
    """A timer that a test lets ring."""

    def __init__(self, seconds, function):
        self.seconds, self.ring, self.daemon, self.cancelled = seconds, function, False, False

    def start(self):
        self.started = True

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def timer(monkeypatch):
    made = []

    def make(seconds, function):
        made.append(Timer(seconds, function))
        return made[-1]

    monkeypatch.setattr(running.threading, "Timer", make)
    return made


def test_a_quick_run_shows_nothing(timer, capsys):
    with running.Display(after=2.0) as display:
        display(0.0, "reading")
        display(0.5, "computing")
    assert (timer[0].seconds, timer[0].started, timer[0].cancelled) == (2.0, True, True)
    timer[0].ring()  # too late: rung while it was being cancelled
    assert capsys.readouterr() == ("", "")


def test_a_slow_run_shows_the_step_at_hand_and_those_that_follow(timer, capsys):
    with running.Display(after=2.0) as display:
        display(0.0, "reading")
        display(0.25, "computing")
        timer[0].ring()
        display(0.5, "computing")
        display(0.75, "printing")
    assert capsys.readouterr().err == " 25 %  computing\n 75 %  printing\n"


def test_a_real_timer_rings(capsys):
    rung = threading.Event()
    with running.Display(after=0.01) as display:
        display(0.0, "waiting")
        told, tell = display._tell, rung.set
        display._tell = lambda: (told(), tell())
        assert rung.wait(20)
    assert capsys.readouterr().err == "  0 %  waiting\n"


def test_a_terminal_gets_a_bar_that_goes_away(timer, monkeypatch):
    screen = io.StringIO()
    console = running.Console
    monkeypatch.setattr(
        running, "Console", lambda **_: console(file=screen, force_terminal=True, width=80)
    )
    with running.Display(after=2.0) as display:
        display(0.5, "computing")
        assert "computing" not in screen.getvalue()
        timer[0].ring()
    assert "computing" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")  # the line is erased


def test_progress_without_a_place_to_show_it_does_not_stop_the_work(monkeypatch):
    def echo(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(running.click, "echo", echo)
    with running.Display() as display:
        display(0.5, "computing")


def test_an_error_of_ours_becomes_one_line():
    with pytest.raises(running.BadInput, match="^one two$") as error, running.told(""):
        raise GeometryError("one\n   two")
    assert error.value.exit_code == 2


def test_ctrl_c_is_told(capsys):
    with pytest.raises(click.exceptions.Exit) as left, running.told("Interrupted; nothing lost."):
        raise KeyboardInterrupt
    assert left.value.exit_code == 130
    assert capsys.readouterr().err == "Interrupted; nothing lost.\n"


def test_an_output_that_fails_is_told():
    message = "^standard output cannot be written: Broken pipe; the file is kept$"
    with pytest.raises(running.BadInput, match=message), running.printing("the file is kept"):
        raise BrokenPipeError(32, "Broken pipe")
