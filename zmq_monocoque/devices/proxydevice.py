"""Proxies: devices with a third socket, which gets a copy of each message."""

from __future__ import annotations

from typing import Any

from zmq_monocoque.backend import proxy
from zmq_monocoque.constants import PUB, DeviceType
from zmq_monocoque.devices.basedevice import Device, ProcessDevice, ThreadDevice, _Side
from zmq_monocoque.sugar.socket import Socket

__all__ = ["Proxy", "ThreadProxy", "ProcessProxy"]


class ProxyBase(Device):
    """ProxyBase(in_type, out_type, mon_type=PUB): what the three proxies share."""

    mon_type: int

    def __init__(self, in_type: int, out_type: int, mon_type: int = PUB) -> None:
        super().__init__(DeviceType.QUEUE, in_type, out_type)
        self.mon_type = mon_type
        self._zm_mon = _Side(mon_type)

    def bind_mon(self, addr: str) -> None:
        """As `bind_in`, for the monitoring socket."""
        self._zm_mon.binds.append(addr)

    def bind_mon_to_random_port(self, addr: str, *args: int, **kwargs: int) -> int:
        """As `bind_in_to_random_port`, for the monitoring socket."""
        return self._zm_bind_to_random_port(self._zm_mon, addr, *args, **kwargs)

    def connect_mon(self, addr: str) -> None:
        """As `connect_in`, for the monitoring socket."""
        self._zm_mon.connects.append(addr)

    def setsockopt_mon(self, opt: int, value: Any) -> None:
        """As `setsockopt_in`, for the monitoring socket."""
        self._zm_mon.sockopts.append((opt, value))

    def _setup_sockets(self) -> tuple[Socket[Any], ...]:
        return *super()._setup_sockets(), self._zm_make_socket(self._zm_mon)

    def run_device(self) -> None:
        ins, outs, mons = self._setup_sockets()
        proxy(ins, outs, mons)


class Proxy(ProxyBase):
    """Proxy(in_type, out_type, mon_type=PUB): `zmq.proxy` in the foreground."""


class ThreadProxy(ProxyBase, ThreadDevice):
    """`Proxy` in a thread."""


class ProcessProxy(ProxyBase, ProcessDevice):
    """`Proxy` in a process."""
