"""Ctrl-C and SIGTERM, heard between two chunks of steps instead of in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ECHO_SECONDS = 0.5


class StopRequest:
    """Whether somebody asked for a stop. Attributes: `signal`, the number of what was sent, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Yield a request that the first Ctrl-C or SIGTERM fills; the second one acts as always, unless it comes at once.

    The command `timeout` and some batch systems send a signal to the process and to its group: twice within a moment.

    In a thread other than the main one Python delivers no signals, and the request stays empty. A signal that is ignored, as
    Ctrl-C is for a job in the background, stays ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    heard = 0.0
    before = {number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) != signal.SIG_IGN}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, _: FrameType | None) -> None:
        nonlocal heard
        if request.signal is None:
            request.signal, heard = number, time.monotonic()
        elif time.monotonic() - heard > _ECHO_SECONDS:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
