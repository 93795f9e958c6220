"""Devices: two sockets made, bound and connected as told, with a proxy between them.

What is asked of a device is noted down, and done where it runs: here, in a thread or in a process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from errno import ENOTSOCK
from multiprocessing import Process
from threading import Thread
from typing import Any

from zmq_monocoque.backend import proxy
from zmq_monocoque.constants import REQ, DeviceType, Errno
from zmq_monocoque.error import ZMQBindError, ZMQError
from zmq_monocoque.sugar.context import Context
from zmq_monocoque.sugar.socket import Socket

__all__ = ["Device", "ThreadDevice", "ProcessDevice"]

#: Between two looks at `Device.done`, in seconds.
_JOIN_STEP = 0.01

#: Ports that were handed out and came up again: so many times another is asked for.
_RANDOM_PORT_TRIES = 5


class _Side:
    """One socket of a device, as it is to be made."""

    def __init__(self, socket_type: int | None) -> None:
        self.type = socket_type
        self.binds: list[str] = []
        self.connects: list[str] = []
        self.sockopts: list[tuple[int, Any]] = []

    def set_up(self, socket: Socket[Any]) -> None:
        for option, value in self.sockopts:
            socket.setsockopt(option, value)
        for address in self.binds:
            socket.bind(address)
        for address in self.connects:
            socket.connect(address)


class Device:
    """Device(device_type=QUEUE, in_type, out_type): a proxy in the foreground.

    ``device_type`` says nothing more than the types of the sockets do. A negative ``out_type``:
    one socket is both ends, set up as the two would be.

    ``daemon``: a thread or process of it ends with the program (default True). ``done``: it ran,
    and is over. ``context_factory``: what makes the context; the default is Context.instance, or
    Context in another process. Raises TypeError when a socket's type is missing.
    """

    context_factory: Callable[[], Context[Any]] = Context.instance
    daemon: bool
    done: bool
    device_type: int
    in_type: int
    out_type: int
    _context: Context[Any]
    _sockets: list[Socket[Any]]

    def __init__(
        self,
        device_type: int = DeviceType.QUEUE,
        in_type: int | None = None,
        out_type: int | None = None,
    ) -> None:
        if in_type is None:
            raise TypeError("in_type must be specified")
        if out_type is None:
            raise TypeError("out_type must be specified")
        self.device_type = device_type
        self.in_type = in_type
        self.out_type = out_type
        self._zm_in = _Side(in_type)
        self._zm_out = _Side(out_type)
        self._zm_random_addresses: set[str] = set()
        self._sockets = []
        self.daemon = True
        self.done = False

    def bind_in(self, addr: str) -> None:
        """Has the in socket bind to ``addr``, once the device runs."""
        self._zm_in.binds.append(addr)

    def bind_in_to_random_port(self, addr: str, *args: int, **kwargs: int) -> int:
        """Has the in socket bind to a port that is free now; arguments and errors as
        `Socket.bind_to_random_port`. Somebody may take the port before the device runs."""
        return self._zm_bind_to_random_port(self._zm_in, addr, *args, **kwargs)

    def connect_in(self, addr: str) -> None:
        """Has the in socket connect to ``addr``, once the device runs."""
        self._zm_in.connects.append(addr)

    def setsockopt_in(self, opt: int, value: Any) -> None:
        """Sets the option ``opt`` of the in socket to ``value``, before it binds and connects."""
        self._zm_in.sockopts.append((opt, value))

    def bind_out(self, addr: str) -> None:
        """As `bind_in`, for the out socket."""
        self._zm_out.binds.append(addr)

    def bind_out_to_random_port(self, addr: str, *args: int, **kwargs: int) -> int:
        """As `bind_in_to_random_port`, for the out socket."""
        return self._zm_bind_to_random_port(self._zm_out, addr, *args, **kwargs)

    def connect_out(self, addr: str) -> None:
        """As `connect_in`, for the out socket."""
        self._zm_out.connects.append(addr)

    def setsockopt_out(self, opt: int, value: Any) -> None:
        """As `setsockopt_in`, for the out socket."""
        self._zm_out.sockopts.append((opt, value))

    def _zm_bind_to_random_port(self, side: _Side, addr: str, *args: int, **kwargs: int) -> int:
        port = self._reserve_random_port(addr, *args, **kwargs)
        side.binds.append(f"{addr}:{port}")
        return port

    def _reserve_random_port(self, addr: str, *args: int, **kwargs: int) -> int:
        """A free port that this device has not handed out before."""
        with Context() as context, context.socket(REQ) as binder:
            for _ in range(_RANDOM_PORT_TRIES):
                port = binder.bind_to_random_port(addr, *args, **kwargs)
                address = f"{addr}:{port}"
                if address not in self._zm_random_addresses:
                    self._zm_random_addresses.add(address)
                    return port
        raise ZMQBindError("Could not reserve random port.")

    def _setup_sockets(self) -> tuple[Socket[Any], ...]:
        """Makes the context and the sockets that `run_device` joins: in and out, here."""
        self._context = self.context_factory()
        ins = self._zm_make_socket(self._zm_in)
        if self.out_type >= 0:
            return ins, self._zm_make_socket(self._zm_out)
        self._zm_out.set_up(ins)
        return ins, ins

    def _zm_make_socket(self, side: _Side) -> Socket[Any]:
        assert side.type is not None, "a side without a type has no socket"
        socket = self._context.socket(side.type)
        self._sockets.append(socket)
        side.set_up(socket)
        return socket

    def _close_sockets(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()

    def run_device(self) -> None:
        """Makes the sockets and passes messages until the context ends. To be overridden."""
        ins, outs = self._setup_sockets()
        proxy(ins, outs)

    def run(self) -> None:
        """`run_device`; the end of the context or of a socket is the good end. Then `done`."""
        try:
            self.run_device()
        except ZMQError as error:
            if error.errno not in (Errno.ETERM, ENOTSOCK):
                raise
        finally:
            self.done = True
            self._close_sockets()

    def start(self) -> None:
        """Runs it, here; in the background in subclasses that say so."""
        self.run()

    def join(self, timeout: float | None = None) -> None:
        """Waits until it is over, or for ``timeout`` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.done and (end is None or time.monotonic() < end):
            time.sleep(_JOIN_STEP)


class BackgroundDevice(Device):
    """A device that `start` runs somewhere else, in what ``_launch_class`` makes."""

    launcher: Any = None
    _launch_class: Any = None

    def start(self) -> None:
        """Runs it in the background. What it raises there is reported there."""
        self.launcher = self._launch_class(target=self.run)
        self.launcher.daemon = self.daemon
        self.launcher.start()

    def join(self, timeout: float | None = None) -> None:
        """Waits until it is over, or for ``timeout`` seconds; not at all before `start`."""
        if self.launcher is not None:
            self.launcher.join(timeout)


class ThreadDevice(BackgroundDevice):
    """A `Device` in a thread. It ends with its context."""

    _launch_class = Thread


class ProcessDevice(BackgroundDevice):
    """A `Device` in a process, with a context of its own there.

    inproc does not reach it, and `done` is not seen here: ``launcher`` is the Process.
    """

    _launch_class = Process
    context_factory = Context
