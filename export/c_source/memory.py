"""Where each buffer lies in memory. Two buffers that are not in use at one time may share floats."""

from __future__ import annotations

from collections.abc import Sequence

from .steps import Step
from .views import Buffer, View


def place_buffers(steps: Sequence[Step], image: View) -> int:
    """Assign an offset to each buffer, and return the number of floats that all of them take together.

    Larger buffers are placed first, each at the lowest offset that is free while it is in use.

    Args:
        steps: Steps in their order.
        image: The image, which is read after the last step.
    """
    lives = _lives(steps, image)
    placed: list[Buffer] = []
    for buffer in sorted(lives, key=lambda each: (-each.size, lives[each])):
        first, last = lives[buffer]
        rivals = [each for each in placed if lives[each][0] <= last and lives[each][1] >= first]
        buffer.offset = _lowest_gap(buffer.size, rivals)
        placed.append(buffer)
    return max((buffer.offset + buffer.size for buffer in placed), default=0)


def _lives(steps: Sequence[Step], image: View) -> dict[Buffer, tuple[int, int]]:
    """Return the index of the first and of the last step that uses each buffer."""
    lives: dict[Buffer, tuple[int, int]] = {}
    views = [(index, view) for index, step in enumerate(steps) for view in (step.target, *step.reads())]
    for index, view in [*views, (len(steps), image)]:
        if isinstance(view.memory, Buffer):
            first, _ = lives.get(view.memory, (index, index))
            lives[view.memory] = first, index
    return lives


def _lowest_gap(size: int, rivals: Sequence[Buffer]) -> int:
    offset = 0
    for rival in sorted(rivals, key=lambda each: each.offset):
        if offset + size <= rival.offset:
            break
        offset = max(offset, rival.offset + rival.size)
    return offset
