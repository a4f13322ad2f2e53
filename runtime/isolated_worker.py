"""The child process of an isolated model: it opens the model and generates batches until its parent ends.

`isolation` starts this module. It lowers the limits of the process before it imports onnxruntime or reads
the file.
"""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import socket
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import GanportError
from .frames import Frame, FrameError, receive_frame, send_frame


def serve(descriptor: int) -> None:
    """Open the model of the first request, answer all further requests, and end with the parent.

    Args:
        descriptor: Number of the open socket to the parent.
    """
    connection = socket.socket(fileno=descriptor)
    threading.Thread(target=_end_with_parent, args=[descriptor], daemon=True).start()
    try:
        request = receive_frame(connection)
        _lower_limits(request.head["limits"])
        _set_alarm(request.head["seconds"])
        opened = _open(request)
        answer = opened if isinstance(opened, Frame) else Frame(_facts(opened))
        _set_alarm(0)
        send_frame(connection, answer)
        while not isinstance(opened, Frame):
            request = receive_frame(connection)
            _set_alarm(request.head["seconds"])
            answer = _generate(opened, request)
            _set_alarm(0)
            send_frame(connection, answer)
    except (FrameError, OSError):
        pass  # the parent has ended


def _end_with_parent(descriptor: int) -> None:
    """End this process when the parent has closed its end of the socket, whatever the main thread does."""
    waiting = select.poll()
    waiting.register(descriptor, 0)  # a closed connection is always reported
    waiting.poll()
    os._exit(0)


def _lower_limits(limits: Mapping[str, Any]) -> None:
    """Limit the memory of this process, and let it write no files. It can't raise the limits again."""
    import resource

    # Memory that may be written counts, and not the libraries and the model file, which are mapped.
    for kind, most in (
        (resource.RLIMIT_DATA, limits["memory"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        allowed = resource.getrlimit(kind)[1]
        chosen = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (chosen, chosen))


def _set_alarm(seconds: float) -> None:
    """Let the system end this process after some seconds; 0 for never.

    The parent ends it before. The alarm is for a parent that was killed while this process is busy.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _open(request: Frame) -> Any:
    """Return the open model, or the frame that reports why it does not open."""
    try:
        from .description import Description
        from .model import Model, ModelOptions

        given = request.head["description"]
        for name in ("value_range", "image_size"):  # tuples are lists in JSON
            if isinstance(given.get(name), list):
                given[name] = tuple(given[name])
        options = ModelOptions(
            threads=request.head["threads"],
            batch_size=request.head["batch_size"],
            repeatable=request.head["repeatable"],
            budget=request.head["budget"],
            description=Description(**given),
        )
        path = request.head["path"]
        return Model(bytes(request.content) if path is None else path, options)
    except (GanportError, MemoryError) as error:
        return _report(error)


def _facts(model: Any) -> dict[str, Any]:
    return {
        "contract": model.contract.to_json(),
        "threads": model.threads,
        "batch_size": model.batch_size,
        "note": model.note,
        "feeds": [dataclasses.asdict(feed) for feed in model.feeds],
    }


def _generate(model: Any, request: Frame) -> Frame:
    inputs, offset = {}, 0
    for name, dtype, shape in request.head["inputs"]:
        values = np.frombuffer(request.content, dtype, int(np.prod(shape)), offset).reshape(shape)
        inputs[name], offset = values, offset + values.nbytes
    try:
        images = model.generator()(inputs)
    except (GanportError, MemoryError) as error:
        return _report(error)
    return Frame({}, np.ascontiguousarray(images).tobytes())


def _report(error: BaseException) -> Frame:
    """Return an error as a frame: its class, its message and its attributes."""
    facts = {name: _as_json(value) for name, value in vars(error).items()}
    return Frame(
        {"error": type(error).__name__, "message": f"{error}" or type(error).__name__, "facts": facts}
    )


def _as_json(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
