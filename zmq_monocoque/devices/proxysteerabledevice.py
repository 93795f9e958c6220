"""Steerable proxies: proxies with a fourth socket, which takes commands."""

from __future__ import annotations

from typing import Any

from zmq_monocoque.backend import proxy_steerable
from zmq_monocoque.constants import PUB
from zmq_monocoque.devices.basedevice import _Side
from zmq_monocoque.devices.proxydevice import ProcessProxy, Proxy, ProxyBase, ThreadProxy
from zmq_monocoque.sugar.socket import Socket

__all__ = ["ProxySteerable", "ThreadProxySteerable", "ProcessProxySteerable"]


class ProxySteerableBase(ProxyBase):
    """ProxySteerableBase(in_type, out_type, mon_type=PUB, ctrl_type=None): what they share.

    Without a ``ctrl_type`` there is no control socket, and the ``_ctrl`` methods do nothing.
    """

    ctrl_type: int | None

    def __init__(
        self, in_type: int, out_type: int, mon_type: int = PUB, ctrl_type: int | None = None
    ) -> None:
        super().__init__(in_type, out_type, mon_type)
        self.ctrl_type = ctrl_type
        self._zm_ctrl = _Side(ctrl_type)

    def bind_ctrl(self, addr: str) -> None:
        """As `bind_in`, for the control socket."""
        self._zm_ctrl.binds.append(addr)

    def bind_ctrl_to_random_port(self, addr: str, *args: int, **kwargs: int) -> int:
        """As `bind_in_to_random_port`, for the control socket."""
        return self._zm_bind_to_random_port(self._zm_ctrl, addr, *args, **kwargs)

    def connect_ctrl(self, addr: str) -> None:
        """As `connect_in`, for the control socket."""
        self._zm_ctrl.connects.append(addr)

    def setsockopt_ctrl(self, opt: int, value: Any) -> None:
        """As `setsockopt_in`, for the control socket."""
        self._zm_ctrl.sockopts.append((opt, value))

    def _setup_sockets(self) -> tuple[Any, ...]:
        control: Socket[Any] | None = None
        others = super()._setup_sockets()
        if self.ctrl_type is not None:
            control = self._zm_make_socket(self._zm_ctrl)
        return *others, control

    def run_device(self) -> None:
        ins, outs, mons, control = self._setup_sockets()
        proxy_steerable(ins, outs, mons, control)


class ProxySteerable(ProxySteerableBase, Proxy):
    """ProxySteerable(in_type, out_type, mon_type=PUB, ctrl_type=None), in the foreground."""


class ThreadProxySteerable(ProxySteerableBase, ThreadProxy):
    """`ProxySteerable` in a thread."""


class ProcessProxySteerable(ProxySteerableBase, ProcessProxy):
    """`ProxySteerable` in a process."""
