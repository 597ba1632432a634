"""SIGTERM ends a command as Ctrl-C does: batch systems, `timeout` and `ray job stop` send it.

In: the signal. Out: a KeyboardInterrupt in the main thread, and that it was this signal. It is that
exception because Ray's C++ calls hand it on to their caller, and no other as it was raised.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EXIT_CODE = 128 + signal.SIGTERM


class Sigterm:
    """The handler. A process that was forked from ours ends as one without it does."""

    def __init__(self) -> None:
        self.came = False
        self._process = os.getpid()

    def __call__(self, number: int, frame: Any) -> None:
        if os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not self.came:  # `timeout` sends it twice: what is being written is not cut
            self.came = True
            raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[Sigterm]:
    """Meanwhile SIGTERM interrupts the main thread; in another thread nothing changes."""
    found = Sigterm()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = signal.signal(signal.SIGTERM, found)
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextmanager
def kept() -> Iterator[None]:
    """Meanwhile Ray starts or stops. While it starts, it sets handlers of its own: they kill its
    processes under a driver which still needs them, print where they were, and end in SystemExit.
    When it has stopped, there is none. Where nobody is listening, that is left as it is."""
    ours = signal.getsignal(signal.SIGTERM)
    if not isinstance(ours, Sigterm):
        yield
        return
    try:
        yield
    except SystemExit:
        ours.came = True
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGTERM, ours)
