"""The process: uvicorn on one port, until it is told to stop; what was accepted is then finished."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from ganport.runtime import Sampler
from ganport.runtime.errors import ListenError, first_line, system_reason

from .limits import ImpatientProtocol
from .service import Settings, make_service

_MOST_CONNECTIONS = 4_096
_OTHER_FILES = 64
_BACKLOG = 2_048  # clients that the system lets wait until they are let in
_KEEP_ALIVE_S = 30


def serve(
    sampler: Sampler,
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8000,
    site: Path | None = None,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        sampler: that draws.
        settings: see Settings.
        host: the address to listen on; the loopback one is reached from this machine only.
        port: 0 for one that is free.
        site: see `make_service`.
        started: is called with the address, once clients may come.

    Raises:
        ListenError: nobody can be heard there.
    """
    config = uvicorn.Config(
        make_service(sampler, settings, site),
        http=ImpatientProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        limit_concurrency=most_connections(),
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(settings.patience) + 1,
        server_header=False,
    )
    # uvicorn raises the signal again when it has finished: what the caller holds is then let go of, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listen(host, port) as listening:
        _Server(config, started).run([listening])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that clients can come to, on the first address that a name has; port 0 is one that is free.

    Raises:
        ListenError: the address is taken, or it is none of this machine.
    """
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else first_line(error)
        raise ListenError(host, port, reason.partition(" (while")[0]) from error


def address_of(listening: socket.socket) -> str:
    """Return where clients find it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def most_connections() -> int:
    """Return how many clients may be connected: fewer than the files that the system lets this process open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_CONNECTIONS if files < 0 else max(1, min(_MOST_CONNECTIONS, files - _OTHER_FILES))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[str], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where, once the port is open."""
        await super().startup(sockets)
        if self.started:
            self._tell(address_of(self.servers[0].sockets[0]))
