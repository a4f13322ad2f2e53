"""Signals that end a training, handled between two chunks of steps instead of in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

# SIGHUP comes when the terminal is closed. Windows does not have it.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
_ECHO_SECONDS = 0.5  # a second signal within this time is ignored; see `stop_requests`


class StopRequest:
    """A request to stop the training: true as soon as a signal was received.

    Attributes:
        signal: Number of the signal; None if no signal was received.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Yield a StopRequest that becomes true at the first Ctrl-C, SIGTERM or SIGHUP.

    A second signal has its usual effect, unless it arrives within half a second. The command `timeout` and
    some batch systems send one signal both to the process and to its process group, so that the process
    receives the signal twice within a moment.

    Python delivers signals to the main thread only. In any other thread the request stays false. A signal
    that the process already ignores, as a background job ignores Ctrl-C, stays ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    received = 0.0
    before = {
        number: handler for number in _SIGNALS if (handler := signal.getsignal(number)) != signal.SIG_IGN
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal received
        if request.signal is None:
            request.signal, received = number, time.monotonic()
        elif time.monotonic() - received > _ECHO_SECONDS:
            restore()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()
