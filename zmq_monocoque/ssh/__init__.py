"""Connections through SSH: `tunnel_connection` and the tunnels that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmq_monocoque.ssh.tunnel import (
    openssh_tunnel,
    paramiko_tunnel,
    ssh_tunnel,
    try_passwordless_ssh,
    tunnel_connection,
)

if TYPE_CHECKING:  # see __init__.pyi of the package
    from zmq_monocoque.ssh import forward as forward
    from zmq_monocoque.ssh import tunnel as tunnel

__all__ = [
    "tunnel_connection",
    "ssh_tunnel",
    "openssh_tunnel",
    "paramiko_tunnel",
    "try_passwordless_ssh",
]
