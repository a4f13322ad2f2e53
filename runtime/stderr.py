"""Standard error below Python: what C++ libraries print does not go through sys.stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def captured_stderr() -> Iterator[io.StringIO]:
    """Collect what the process writes to file descriptor 2 meanwhile; the text is there when the block has ended.

    It takes the descriptor of the whole process: what other threads print in that time is collected too.
    """
    import tempfile  # 15 ms, and needed where a provider is tried only

    text = io.StringIO()
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
