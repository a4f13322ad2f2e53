"""The commands `web` and `serve`."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganport.runtime.description import DescriptionOptions
from ganport.runtime.errors import GanportError, UsageError

from .console import BudgetOption, ModelArgument, ProviderOption, find_model, messages, needs, results
from .describing import describes_generator, renamed

if TYPE_CHECKING:
    from ganport.runtime import Sampler
    from ganport.server import Settings
    from ganport.server.process import LogLevel


@describes_generator
def web(
    model: ModelArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the page to write.", show_default="site")
    ] = None,
    module: Annotated[
        Path | None,
        typer.Option(help="Folder to write with the JavaScript module for your own application, not a page."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder.")] = False,
    onnxruntime_web: Annotated[
        Path | None,
        typer.Option(
            help="Folder dist of the npm package onnxruntime-web.", show_default="npm downloads it, once"
        ),
    ] = None,
    description: DescriptionOptions | None = None,
) -> None:
    """Write a page that generates the model's images in the browser: a folder for any web server."""
    if module is not None and out is not None:
        raise UsageError("--out writes a page and --module writes a module; give one of them.")
    from ganport.web import write_module, write_site

    path = find_model(model)
    folder = module or out or Path("site")
    write = write_site if module is None else write_module
    with messages.status(f"writing {folder}"), _exported(path, description or {}) as file:
        site = write(file, folder, overwrite=overwrite, onnxruntime_web=onnxruntime_web)
    results.print(
        f"{folder}: {site.contract.name}, {site.transfer / 1e6:.1f} MB to download in a browser "
        f"({site.compressed / 1e6:.1f} MB compressed); {site.webgpu / 1e6:.1f} MB more if it tries WebGPU",
        markup=False,
    )
    if module is None:
        next_step = (
            f"Open it with: python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(folder))}"
        )
    else:
        next_step = f"How to use it: {folder / 'README.md'}"
    results.print(next_step, markup=False)


@describes_generator
def serve(
    model: ModelArgument = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. 0.0.0.0 is all addresses of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on. 0 takes a free one.")
    ] = 8000,
    provider: ProviderOption = "cpu",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Number of CPU threads.", show_default="all cores")
    ] = None,
    budget: BudgetOption = 1.0,
    isolated: Annotated[
        bool,
        typer.Option("--isolated", help="Open the model in a process of its own, and serve no page."),
    ] = False,
    queue: Annotated[
        int, typer.Option(min=1, help="Images that may wait. For more, clients get status 429.")
    ] = 2048,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds in which images must be ready.")] = 30.0,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin whose pages may read the responses, such as https://example.org; * is any origin. "
            "May be repeated."
        ),
    ] = None,
    access_log: Annotated[
        Literal["common", "json"] | None,
        typer.Option(help="Write a line for each response to standard output.", show_default="no log"),
    ] = None,
    log_level: Annotated[
        Literal["critical", "error", "warning", "info", "debug"],
        typer.Option(help="Least important messages on standard error."),
    ] = "warning",
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the browser page at /.")] = True,
    engine: Annotated[
        Literal["ray"] | None, typer.Option(help="Serve on a Ray cluster, without the page.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address of the cluster.", show_default="this machine")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Replicas on the cluster.", show_default="one per core")
    ] = None,
    description: DescriptionOptions | None = None,
) -> None:
    """Serve the model's images over HTTP. If GANPORT_API_KEY is set, clients must send this key."""
    if engine is None and (address or replicas):
        raise UsageError("--address and --replicas are for a cluster; add --engine ray.")
    if engine == "ray" and threads:
        raise UsageError(
            "--threads is for a single process; on a cluster each replica has one thread: choose --replicas."
        )
    if engine == "ray" and isolated:
        raise UsageError("--isolated is for a single process; on a cluster, leave it out.")
    if engine == "ray" and log_level != "warning":
        raise UsageError("--log-level is for a single process; Ray writes the messages of a cluster.")
    with needs("serve", "server"):
        from ganport.server import API_KEY_VARIABLE, Settings
    from ganport.runtime import Sampler
    from ganport.runtime.command import say_note, say_provider

    settings = Settings(
        queue=queue,
        timeout=timeout,
        api_key=os.environ.get(API_KEY_VARIABLE) or None,
        cors=cors or (),
        access_log=access_log,
    )
    path = find_model(model)
    with Sampler(
        path,
        provider=provider,
        threads=threads,
        repeatable=True,
        budget=budget,
        isolated=isolated,
        **(description or {}),
    ) as sampler:
        say_note(sampler)
        say_provider(sampler, provider)
        if engine == "ray":
            _serve_on_ray(sampler, settings, host, port, replicas, address)
        else:
            # The files of the page are made of the model, which this process would have to open.
            serves_page = page and not isolated
            write_page = functools.partial(_write_page, path, description or {}) if serves_page else None
            _serve_here(sampler, settings, host, port, write_page, log_level)


@contextlib.contextmanager
def _exported(path: Path, description: DescriptionOptions) -> Iterator[Path]:
    """Yield the path of a model that ganport wrote: the given one, or the export of a third-party model.

    The page runs the model in the browser, where nothing adapts a third-party graph.
    """
    from ganport.runtime import Sampler

    with Sampler(path, **description) as sampler:
        is_own = bool(sampler.contract.created_by)
    if is_own:
        yield path
        return
    from ganport.export.exporting import export_file

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.with_suffix(".onnx").name
        yield export_file(path, file, **renamed(description)).path


def _serve_here(
    sampler: Sampler,
    settings: Settings,
    host: str,
    port: int,
    write_page: Callable[[Path], object] | None,
    log_level: LogLevel,
) -> None:
    from ganport.server import serve

    serve(
        sampler,
        settings=settings,
        host=host,
        port=port,
        write_page=write_page,
        on_start=lambda url: messages.print(f"{url} serves {_described(sampler, settings)}; Ctrl-C stops it"),
        on_page_error=_print_page_error,
        log_level=log_level,
    )


def _write_page(model: Path, description: DescriptionOptions, out: Path) -> None:
    from ganport.web import write_site

    with _exported(model, description) as file:
        write_site(file, out)


def _serve_on_ray(
    sampler: Sampler, settings: Settings, host: str, port: int, replicas: int | None, address: str | None
) -> None:
    from ganport.cluster.replicas import serve_on_ray

    def on_start(url: str, count: int) -> None:
        messages.print(
            f"{url} serves {_described(sampler, settings)}, {count} replicas on Ray; Ctrl-C stops them"
        )

    serve_on_ray(
        sampler,
        settings=settings,
        host=host,
        port=port,
        replicas=replicas,
        address=address,
        on_start=on_start,
    )


def _described(sampler: Sampler, settings: Settings) -> str:
    key = "" if settings.api_key is None else ", with an API key"
    return f"{sampler.contract.name} on {sampler.provider}{key}"


def _print_page_error(error: GanportError) -> None:
    messages.print(f"The page is not served: {error}", markup=False)
