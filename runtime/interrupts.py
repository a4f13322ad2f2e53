"""Signals that end a command: Ctrl-C, SIGTERM, and SIGHUP, which comes when the terminal is closed.

A signal raises an exception in the main thread, so the clean-up code of the command runs. Python may lose
this exception. A C extension that is being imported turns it into an ImportError, and a destructor drops it.
Or the exception comes when a function of `threading` has just acquired a lock, which then stays locked. So a
command that has not ended some seconds after the signal is ended by a second thread. If the signal comes
during an import, the exception waits for the end of the import.

Python runs a handler between two of its own operations. So a long call of C code, such as the compilation of
a training program, delays all of this until it returns.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from .files import remove_unfinished

_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
_ECHO_S = 0.5  # a second signal within this time is ignored: `timeout` signals a process and its group
_IMPORT_S = 1.0  # time in which an import may end before the process does
_CLEAN_UP_S = 5.0  # time that the clean-up code has
_POLL_S = 0.005
_IMPORTER = "<frozen importlib._bootstrap>"  # file name of the code that imports modules
_CLEAR = b"\r\x1b[K\x1b[?25h"  # clears the line of a progress bar, and shows the cursor


class Ending:
    """How a command ends.

    Attributes:
        signal: The signal that ends the command; None as long as none has arrived.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._received = 0.0
        self._is_raised = self._is_over = False

    @property
    def status(self) -> int:
        """Exit code of a process that the signal ends, as shells count it; without one, that of Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)

    @contextlib.contextmanager
    def by_signals(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at Ctrl-C, or SystemExit at SIGTERM and SIGHUP, in the `with` block.

        The process ends at once at a second signal, or if the block has not ended within some seconds.
        Files that are not finished are removed. A signal that the process ignores, as with `nohup`, stays
        ignored. Python delivers signals to the main thread only, so in another thread nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: handler
            for number in _SIGNALS
            if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)
        }
        report_lost, sys.unraisablehook = sys.unraisablehook, self._report_lost
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            self._is_over = True
            sys.unraisablehook = report_lost
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_over:
            self._leave()
        if self._is_raised:
            if time.monotonic() - self._received > _ECHO_S:
                self._leave()
            return
        if self.signal is None:
            self.signal, self._received = signal.Signals(number), time.monotonic()
            # Not threading.Thread, because the signal may have interrupted a function that holds its lock.
            _thread.start_new_thread(self._watch, ())
        if importer := _importer_of(frame):
            self._raise_after_import(importer)
        else:
            self._raise()

    def _raise(self) -> None:
        self._is_raised = True
        raise KeyboardInterrupt if self.signal == signal.SIGINT else SystemExit(self.status)

    def _raise_after_import(self, importer: FrameType) -> None:
        """Raise the exception at the next line of the code that imports a module."""

        def raise_at_next_line(*_: object) -> None:
            sys.settrace(None)
            self._raise()

        importer.f_trace = raise_at_next_line
        sys.settrace(lambda *_: None)  # Python traces a frame only if it traces calls, too

    def _watch(self) -> None:
        """End the process if it does not end by itself."""
        deadline = self._received + _IMPORT_S
        while not self._is_over and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            if self._is_raised:
                deadline = self._received + _IMPORT_S + _CLEAN_UP_S
        if not self._is_over:
            self._leave()

    def _leave(self) -> None:
        """End the process at once."""
        remove_unfinished()
        # One of the streams may be captured, and the other one a terminal.
        for descriptor in (2, 1):
            with contextlib.suppress(OSError):
                if os.isatty(descriptor):
                    os.write(descriptor, _CLEAR)
                    break
        os._exit(self.status)

    def _report_lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Print nothing about the exception of a signal that was lost in a destructor."""
        if self.signal is None or not issubclass(lost.exc_type, (KeyboardInterrupt, SystemExit)):
            sys.__unraisablehook__(lost)


def _importer_of(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the code that imports a module, if the code of a frame is part of the import."""
    importer = None
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTER:
            importer = frame.f_back
        frame = frame.f_back
    return importer
