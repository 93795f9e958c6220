"""`monitored_queue`, where pyzmq has it."""

from __future__ import annotations

from zmq_monocoque.backend import monitored_queue

__all__ = ["monitored_queue"]
