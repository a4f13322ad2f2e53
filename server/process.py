"""serve: the process of the service, with uvicorn on one port.

SIGINT or SIGTERM stops the service. It finishes all accepted requests before the process ends.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import uvicorn

from ganport.runtime import Sampler
from ganport.runtime.display import first_line, system_reason
from ganport.runtime.errors import GanportError, UsageError

from .connections import Connections, LimitedProtocol, connection_limit
from .errors import ListenError
from .service import Settings, make_service

LogLevel = Literal["critical", "error", "warning", "info", "debug"]
LOG_LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)

_BACKLOG = 2_048  # largest number of connections that wait until uvicorn accepts them
_KEEP_ALIVE_S = 30
_MAX_PORT = 65_535


def serve(
    sampler: Sampler,
    *,
    settings: Settings | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    write_page: Callable[[Path], object] | None = None,
    on_start: Callable[[str], object] | None = None,
    on_page_error: Callable[[GanportError], object] | None = None,
    log_level: LogLevel = "warning",
) -> None:
    """Serve a model over HTTP until SIGINT or SIGTERM.

    Args:
        sampler: Sampler of the model. On CUDA open the sampler with `repeatable=True`. Clients cache
            images, so a seed must always give the same image.
        settings: Limits and API key. None for `Settings()`.
        host: Address to listen on. The default accepts connections from this machine only.
        port: Port to listen on. 0 selects a free port.
        write_page: Function that writes the browser page into a folder, such as `lambda out:
            write_site("mnist", out)` with `ganport.web.write_site`. The page is then served at /. It is
            not served if there is an API key, because the page contains the model.
        on_start: Function that is called with the service's URL as soon as the service accepts requests.
        on_page_error: Function that is called with the error if the page can't be built. The service then
            starts without the page. By default the error is raised.
        log_level: Least important messages that are written to standard error.

    Raises:
        UsageError: `port` or `log_level` is not valid.
        ListenError: The service can't listen on the address.
        GanportError: Raised by `write_page`, if `on_page_error` is None.
    """
    settings = settings or Settings()
    if log_level not in LOG_LEVELS:
        raise UsageError(f"`log_level` is {log_level!r}; it must be one of {', '.join(LOG_LEVELS)}.")
    with _built_page(write_page if settings.api_key is None else None, on_page_error) as site:
        config = uvicorn.Config(
            make_service(sampler, settings=settings, site=site),
            http=limited_protocol(connection_limit()),
            ws="none",
            log_level=log_level,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(settings.timeout) + 1,
            server_header=False,
        )
        # After SIGTERM uvicorn finishes its requests, and then sends the signal to the process again. By
        # default the second signal would end the process at once. This handler raises SystemExit instead, so
        # that the `with` blocks of the callers close their resources.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with listen(host, port) as listening:
            _Server(config, on_start).run([listening])


def limited_protocol(limit: int) -> Any:
    """Return uvicorn's setting `http` for a service with at most `limit` connections."""
    return functools.partial(LimitedProtocol, connections=Connections(limit))


@contextlib.contextmanager
def _built_page(
    write_page: Callable[[Path], object] | None, on_error: Callable[[GanportError], object] | None
) -> Iterator[Path | None]:
    """Write the page into a temporary folder and yield the folder. Yield None if there is no page."""
    if write_page is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as temporary:
        site: Path | None = Path(temporary) / "site"
        try:
            write_page(Path(temporary) / "site")
        except GanportError as error:
            if on_error is None:
                raise
            on_error(error)
            site = None
        yield site


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Args:
        host: Host name or IP address. If a name has several addresses, the first one is used.
        port: Port in [0, 65535]. 0 selects a free port.

    Raises:
        UsageError: `port` is out of range.
        ListenError: The port is in use, or the address is not one of this machine.
    """
    if not isinstance(port, int) or not 0 <= port <= _MAX_PORT:
        raise UsageError(f"`port` is {port!r}; it must be from 0 to {_MAX_PORT}.")
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else first_line(error)
        raise ListenError(host, port, reason.partition(" (while")[0]) from error


def url_of(listening: socket.socket) -> str:
    """Return the URL of a service on a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_start: Callable[[str], object] | None) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept requests, and call `on_start` with the URL."""
        await super().startup(sockets)
        if self.started and self._on_start is not None:
            self._on_start(url_of(self.servers[0].sockets[0]))
