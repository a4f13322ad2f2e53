"""`sample`, `walk`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ganport.runtime.errors import UsageError

from .console import LayoutOption, ModelArgument, ProviderOption, RangeOption, find_model, messages, results


def sample() -> None:
    """Draw images."""
    raise UsageError("Write sample first: ganport sample ...")  # listed here; it runs without typer: cli.py


def walk(
    model: ModelArgument = None,
    seeds: Annotated[str, typer.Option(help="To go through, such as 0,5,9.")] = "0-7",
    frames: Annotated[int, typer.Option(min=1, help="From one seed to the next.")] = 15,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Frames a second.")] = 25.0,
    loop: Annotated[bool, typer.Option(help="Come back to the first seed.")] = True,
    label: Annotated[
        str | None, typer.Option(help="Class to draw, of a model that has some.", show_default="the first seed's")
    ] = None,
    truncation: Annotated[float, typer.Option(min=0, max=1, help="Below 1: nearer to the average image.")] = 1.0,
    provider: ProviderOption = "cpu",
    out: Annotated[Path, typer.Option(help="The animation, .gif or .webp; - for raw RGB on stdout.")] = Path("walk.gif"),
    layout: LayoutOption = None,
    value_range: RangeOption = None,
) -> None:
    """Draw an animation that goes from seed to seed."""
    from ganport.runtime import Sampler, parse_seeds
    from ganport.runtime.command import say_provider
    from ganport.runtime.progress import shown
    from ganport.runtime.writers import ANIMATIONS, LARGEST_GRID, STDOUT, check_frames, write_animation, write_frames

    if out != STDOUT and out.suffix.lower() not in ANIMATIONS:
        raise typer.BadParameter(f"--out is {out}; it takes a name that ends in {' or '.join(ANIMATIONS)}, or - for stdout.")
    wanted = parse_seeds(seeds, at_most=LARGEST_GRID)
    count = frames * (len(wanted) - (not loop)) + (not loop)
    path = find_model(model)
    with Sampler(path, provider, layout=layout, value_range=value_range) as sampler:
        say_provider(sampler, provider)
        check_frames(out, count, sampler.model.image.shape)
        batches = shown(sampler.walk(wanted.tolist(), frames, loop, label, truncation), count)
        if out == STDOUT:
            write_frames(batches, sys.stdout.buffer)
            height, width, _ = sampler.model.image.shape
            messages.print(
                f"raw video, rgb24, {width}x{height}: {count:,} frames through {len(wanted)} seeds of {path}", markup=False
            )
            return
        pictures = [frame for batch in batches for frame in batch]
    write_animation(pictures, [1 / rate] * len(pictures), out)
    results.print(f"{out}: {len(pictures):,} frames through {len(wanted)} seeds of {path}", markup=False)
