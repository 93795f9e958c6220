"""The device of `zmq_monocoque.green`."""

from __future__ import annotations

from typing import Any

from zmq_monocoque.constants import POLLIN
from zmq_monocoque.green.poll import _Poller


def device(device_type: int, isocket: Any, osocket: Any) -> None:
    """Passes messages between two sockets, both ways, until an exception ends it.

    ``device_type`` is ignored. ``osocket`` may be -1: there is only ``isocket`` then.
    Other greenlets run while there is nothing to pass.
    """
    if osocket == -1:
        osocket = isocket
    poller = _Poller()
    poller.register(isocket, POLLIN)
    if osocket is not isocket:
        poller.register(osocket, POLLIN)
    while True:
        for source, _ in poller.poll():
            target = osocket if source is isocket else isocket
            target.send_multipart(source.recv_multipart(copy=False), copy=False)
