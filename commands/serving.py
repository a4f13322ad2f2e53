"""`web`, `serve`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganport.runtime.errors import UsageError

from .console import ModelArgument, ProviderOption, find_model, messages, needs, results

if TYPE_CHECKING:
    from ganport.runtime import Sampler
    from ganport.server import Settings


def web(
    model: ModelArgument = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("site"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a site that is there.")] = False,
    onnxruntime_web: Annotated[
        Path | None, typer.Option(help="The npm package's folder dist.", show_default="got by npm, once")
    ] = None,
) -> None:
    """Write a page that draws the model's images in the browser: a folder for any web server."""
    from ganport.web import write_site

    path = find_model(model)
    with messages.status("putting the site together"):
        site = write_site(path, out, overwrite, onnxruntime_web)
    results.print(
        f"{out}: {site.contract.name}, {site.transfer / 1e6:.1f} MB to a browser, {site.compressed / 1e6:.1f} MB compressed; "
        f"{site.webgpu / 1e6:.1f} MB more where WebGPU may be worth it",
        markup=False,
    )
    results.print(f"Look at it: python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(out))}", markup=False)


def serve(
    model: ModelArgument = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of the machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for one that is free.")] = 8000,
    provider: ProviderOption = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="To compute with.", show_default="all that there are")] = None,
    queue: Annotated[int, typer.Option(min=1, help="Images that may wait; beyond, clients are told to come again.")] = 2048,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds until a request is given up.")] = 30.0,
    page: Annotated[bool, typer.Option("--page/--no-page", help="The browser page at /.")] = True,
    engine: Annotated[Literal["ray"] | None, typer.Option(help="Serve from a cluster, by Ray Serve; without the page.")] = None,
    address: Annotated[str | None, typer.Option(help="Of the cluster.", show_default="one on this machine")] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="On the cluster.", show_default="one for each core")] = None,
) -> None:
    """Serve the model's images over HTTP; with GANPORT_API_KEY set, to those who know it."""
    if engine is None and (address or replicas):
        raise UsageError("--address and --replicas are of a cluster: name it with --engine ray.")
    if engine == "ray" and threads:
        raise UsageError("--threads is of one process: on a cluster each replica has one; choose --replicas.")
    with needs("serve", "server"):
        from ganport import server
    import os
    import tempfile

    from ganport.runtime import Sampler
    from ganport.runtime.command import say_provider

    path, api_key = find_model(model), os.environ.get("GANPORT_API_KEY") or None
    settings = server.Settings(most_waiting=queue, patience=timeout, api_key=api_key)
    with Sampler(path, provider, threads, repeatable=True) as sampler, tempfile.TemporaryDirectory() as folder:
        say_provider(sampler, provider)
        said = f"{sampler.model.name} on {sampler.provider}{'' if api_key is None else ', with a key'}"
        if engine == "ray":
            _serve_on_ray(sampler, settings, host, port, replicas, address, said)
            return
        site = _make_site(path, Path(folder) / "site") if page and api_key is None else None
        server.serve(sampler, settings, host, port, site, lambda at: messages.print(f"{at} serves {said}; Ctrl-C stops it"))


def _serve_on_ray(
    sampler: Sampler, settings: Settings, host: str, port: int, replicas: int | None, address: str | None, said: str
) -> None:
    from ganport.cluster.replicas import serve_on_ray

    def started(where: str, count: int) -> None:
        messages.print(f"{where} serves {said}, {count} replicas on Ray; Ctrl-C stops them")

    serve_on_ray(sampler, settings, host, port, replicas, address, started)


def _make_site(model: Path, folder: Path) -> Path | None:
    """Return the folder of the browser page; None, and the reason said, where it can't be put together."""
    from ganport.runtime.errors import OutputError, WebError
    from ganport.web import write_site

    try:
        return write_site(model, folder).folder
    except (UsageError, WebError, OutputError) as error:
        messages.print(f"there is no page at /: {error}", markup=False)
        return None
