"""A local port forwarded through a paramiko transport."""

from __future__ import annotations

import logging
import select
import socketserver
from typing import Any

__all__ = ["forward_tunnel"]

logger = logging.getLogger("ssh")

#: Bytes that are passed on at a time.
_CHUNK_BYTES = 65536


class ForwardServer(socketserver.ThreadingTCPServer):
    """Accepts on the local port; each connection has a thread of its own."""

    daemon_threads = True
    allow_reuse_address = True


class Handler(socketserver.BaseRequestHandler):
    """One connection: bytes both ways, until one end closes. Subclassed with the fields set."""

    chain_host: str
    chain_port: int
    ssh_transport: Any

    def handle(self) -> None:
        remote = (self.chain_host, self.chain_port)
        try:
            channel = self.ssh_transport.open_channel(
                "direct-tcpip", remote, self.request.getpeername()
            )
        except Exception as error:
            logger.warning("Request to %s:%d failed: %r", *remote, error)
            return
        if channel is None:
            logger.warning("Request to %s:%d was rejected by the SSH server", *remote)
            return
        logger.debug("Connected to %s:%d", *remote)
        try:
            _pass_both_ways(self.request, channel)
        except OSError as error:
            logger.debug("Tunnel to %s:%d broke: %r", *remote, error)
        finally:
            channel.close()
            logger.debug("Tunnel to %s:%d closed", *remote)


def _pass_both_ways(one: Any, other: Any) -> None:
    while True:
        for end in select.select([one, other], [], [])[0]:
            data = end.recv(_CHUNK_BYTES)
            if not data:
                return
            (other if end is one else one).sendall(data)


def forward_tunnel(local_port: int, remote_host: str, remote_port: int, transport: Any) -> None:
    """Forwards 127.0.0.1:``local_port`` to ``remote_host``:``remote_port``, as the far end of
    ``transport``, an SSH connection of paramiko's, sees it.

    Does not return. Raises OSError when the local port is taken.
    """
    fields = {
        "chain_host": remote_host,
        "chain_port": remote_port,
        "ssh_transport": transport,
    }
    handler = type("BoundHandler", (Handler,), fields)
    with ForwardServer(("127.0.0.1", local_port), handler) as server:
        server.serve_forever()
