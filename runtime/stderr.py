"""Standard error below Python: what C++ libraries print does not go through sys.stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()  # two that overlap would leave the descriptor with the first one's file


@contextlib.contextmanager
def captured_stderr() -> Iterator[io.StringIO]:
    """Collect what the process writes to file descriptor 2 meanwhile; the text is there when the block has ended.

    It takes the descriptor of the whole process: what other threads print in that time is collected too.
    """
    text = io.StringIO()
    if sys.stderr is None:  # nothing is to be seen anyway
        yield text
        return
    with _lock:
        yield from _captured(text)


def _captured(text: io.StringIO) -> Iterator[io.StringIO]:
    import tempfile  # 15 ms, and needed where a provider is tried only

    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield text
        finally:
            os.dup2(original, 2)
            os.close(original)
            file.seek(0)
            text.write(file.read().decode(errors="replace"))
