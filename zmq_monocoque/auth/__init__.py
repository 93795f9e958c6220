"""Who may connect: handlers of the ZeroMQ Authentication Protocol (RFC 27), and certificates.

An authenticator answers for every server socket of its context: `Authenticator` needs somebody to
feed it; `auth.thread` and `auth.asyncio` have those that run by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmq_monocoque.auth.base import CURVE_ALLOW_ANY, Authenticator
from zmq_monocoque.auth.certs import create_certificates, load_certificate, load_certificates

if TYPE_CHECKING:  # see __init__.pyi of the package
    from zmq_monocoque.auth import asyncio as asyncio
    from zmq_monocoque.auth import base as base
    from zmq_monocoque.auth import certs as certs
    from zmq_monocoque.auth import ioloop as ioloop
    from zmq_monocoque.auth import thread as thread

__all__ = [
    "Authenticator",
    "CURVE_ALLOW_ANY",
    "create_certificates",
    "load_certificate",
    "load_certificates",
]
