"""Devices: what passes messages on between two sockets. So far the functions, not the classes."""

from __future__ import annotations

from zmq_monocoque.backend import monitored_queue, proxy
from zmq_monocoque.sugar import device

__all__ = ["device", "monitored_queue", "proxy"]
