"""ZeroMQ for gevent: calls that would wait let other greenlets run meanwhile.

``import zmq_monocoque.green as zmq``: everything of `zmq_monocoque`, with a Context, Socket, Poller
and device of its own. Nothing needs to be patched.
"""

# ruff: noqa: F403
from __future__ import annotations

import zmq_monocoque as _zmq
from zmq_monocoque import *
from zmq_monocoque.green.core import _Context, _Socket
from zmq_monocoque.green.device import device as _device
from zmq_monocoque.green.poll import _Poller

Context = _Context  # type: ignore[misc]
Socket = _Socket  # type: ignore[misc]
Poller = _Poller  # type: ignore[misc]
device = _device  # type: ignore[assignment]

__all__ = [*_zmq.__all__]  # type: ignore[attr-defined]
