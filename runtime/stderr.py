"""Capturing standard error at the file descriptor, because C++ libraries bypass sys.stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator

# Captures must not overlap. If a second capture began during the first capture, file descriptor 2 would be
# the first capture's temporary file. At the end, the second capture would restore that file, not standard
# error.
_lock = threading.Lock()


@contextlib.contextmanager
def captured_stderr() -> Iterator[io.StringIO]:
    """Yield a stream that receives what the process writes to file descriptor 2 within the block.

    The stream is filled when the block ends. The descriptor belongs to the whole process, so the stream also
    receives what other threads print during the block.
    """
    text = io.StringIO()
    if sys.stderr is None:  # there is no stream to capture
        yield text
        return
    with _lock:
        yield from _captured(text)


def _captured(text: io.StringIO) -> Iterator[io.StringIO]:
    import tempfile  # not at the top: the import takes 15 ms, and is not always needed

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
