"""The commands `sample` and `walk`, which generate images and animations."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from ganport.runtime.command import make_parser
from ganport.runtime.description import DescriptionOptions
from ganport.runtime.errors import UsageError

from .console import BudgetOption, ModelArgument, ProviderOption, find_model, messages, results
from .describing import describes_generator, parameter_of


def sample(**_: Any) -> None:
    """Generate images: a grid, an array, a folder of PNGs, or shards."""
    # If `sample` is the first argument, `ganport.__main__` runs the runtime's function instead of this one.
    raise UsageError("The command sample must come first: ganport sample ...")


# typer learns the options of `sample` from the runtime's parser, for shell completion and for error messages.
sample.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [parameter_of(action) for action in make_parser("sample", ("ray",))._actions if action.dest != "help"]
)


@describes_generator
def walk(
    model: ModelArgument = None,
    seeds: Annotated[str, typer.Option(help="Seeds to walk through, such as 0,5,9.")] = "0-7",
    frames: Annotated[int, typer.Option(min=1, help="Frames from one seed to the next.")] = 15,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Frames per second.")] = 25.0,
    loop: Annotated[bool, typer.Option(help="Walk back to the first seed.")] = True,
    label: Annotated[
        str | None,
        typer.Option(
            help="Label of all frames, for a generator with labels.", show_default="the first seed's"
        ),
    ] = None,
    truncation: Annotated[
        float, typer.Option(min=0, max=1, help="Below 1, images are nearer to the average image.")
    ] = 1.0,
    scale: Annotated[int, typer.Option(min=1, help="Enlarge each pixel to a square of this side.")] = 1,
    provider: ProviderOption = "cpu",
    budget: BudgetOption = 1.0,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The animation, .gif or .webp; - for raw RGB on standard output."),
    ] = Path("walk.gif"),
    description: DescriptionOptions | None = None,
) -> None:
    """Generate an animation that walks from seed to seed."""
    from ganport.runtime import Sampler, parse_seeds
    from ganport.runtime.command import say_note, say_provider, standard_output
    from ganport.runtime.images import check_scale, enlarge
    from ganport.runtime.progress import with_progress
    from ganport.runtime.writers import (
        LARGEST_GRID,
        STDOUT,
        check_animation,
        check_frames,
        write_animation,
        write_frames,
    )

    check_animation(out)
    stops = parse_seeds(seeds, at_most=LARGEST_GRID)
    count = frames * (len(stops) - (not loop)) + (not loop)
    path = find_model(model)
    with Sampler(path, provider=provider, budget=budget, **(description or {})) as sampler:
        say_note(sampler)
        say_provider(sampler, provider)
        height, width, channels = sampler.contract.image.shape
        check_scale(scale, (height, width, channels))
        check_frames(out, count, (scale * height, scale * width, channels))
        batches = sampler.walk(stops.tolist(), frames=frames, loop=loop, labels=label, truncation=truncation)
        # A whole batch of enlarged frames could take gigabytes, so each frame is enlarged by itself.
        enlarged = (enlarge(frame[None], scale) for batch in batches for frame in batch)
        shown = with_progress(enlarged, count)
        what = f"{count:,} frames through {len(stops)} seeds of {path}"
        if out == STDOUT:
            write_frames(shown, standard_output())
            messages.print(f"raw video, rgb24, {scale * width}x{scale * height}: {what}", markup=False)
            return
        images = [frame for batch in shown for frame in batch]
    write_animation(images, [1 / rate] * len(images), out)
    results.print(f"{out}: {what}", markup=False)
