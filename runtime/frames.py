"""Frames: messages between two processes. A frame is a JSON object, and bytes that follow it."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

_LENGTHS = struct.Struct("<IQ")  # numbers of bytes of the JSON text and of the content
_MOST_CONTENT = 2**40


class FrameError(Exception):
    """The other process has ended, or it sends what is not a frame."""


class Frame(NamedTuple):
    """A message.

    Attributes:
        head: JSON object.
        content: Bytes that follow it.
    """

    head: Mapping[str, Any]
    content: bytes | bytearray = b""


def send_frame(connection: socket.socket, frame: Frame, deadline: float | None = None) -> None:
    """Send a frame. Raises OSError, or TimeoutError after a deadline of `time.monotonic`."""
    head = json.dumps(frame.head).encode()
    connection.settimeout(_remaining(deadline))
    connection.sendall(_LENGTHS.pack(len(head), len(frame.content)) + head)
    if frame.content:
        connection.settimeout(_remaining(deadline))
        connection.sendall(frame.content)


def receive_frame(connection: socket.socket, deadline: float | None = None, most_head: int = 2**31) -> Frame:
    """Return the next frame.

    Args:
        connection: Socket to the other process.
        deadline: Time of `time.monotonic` at which TimeoutError is raised; None to wait forever.
        most_head: Largest number of bytes of the JSON text.

    Raises:
        FrameError: The other process has ended, or it sends what is not a frame.
        TimeoutError: The deadline is over.
        OSError: The socket does not work any more.
    """
    head_size, size = _LENGTHS.unpack(_receive(connection, _LENGTHS.size, deadline))
    if head_size > most_head or size > _MOST_CONTENT:
        raise FrameError
    try:
        head = json.loads(_receive(connection, head_size, deadline))
    except (ValueError, RecursionError):
        raise FrameError from None
    if not isinstance(head, dict):
        raise FrameError
    return Frame(head, _receive(connection, size, deadline))


def _receive(connection: socket.socket, size: int, deadline: float | None) -> bytearray:
    """Return the next bytes. Memory is taken as they arrive, because too many may be announced."""
    received = bytearray()
    while len(received) < size:
        connection.settimeout(_remaining(deadline))
        part = connection.recv(min(size - len(received), 2**20))
        if not part:
            raise FrameError
        received += part
    return received


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
