"""Ctrl-C as a wish: the first one is kept, the second one is raised."""

from __future__ import annotations

import signal
import threading

import pytest

from linconv.study.interrupts import deferred_interrupt


@pytest.fixture(autouse=True)
def python_handler():
    """Give SIGINT Python's own handler, and see that it is back afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_the_first_is_noted_and_the_second_raised():
    with deferred_interrupt() as stop:
        assert not stop.wanted
        signal.raise_signal(signal.SIGINT)
        assert stop.wanted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_within_another_the_wish_is_the_same():
    with deferred_interrupt() as outer:
        with deferred_interrupt() as inner:
            assert inner is outer
        signal.raise_signal(signal.SIGINT)
        assert outer.wanted
        with deferred_interrupt() as late:
            assert late.wanted
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


def test_pythons_handler_is_back_after_an_error():
    with pytest.raises(ZeroDivisionError), deferred_interrupt():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_user_stays():
    calls = []
    signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    with deferred_interrupt() as stop:
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert calls == [signal.SIGINT]
    assert not stop.wanted


def test_other_threads_leave_the_handler_alone():
    seen = []

    def work():
        with deferred_interrupt() as stop:
            seen.append((stop.wanted, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.default_int_handler)]
