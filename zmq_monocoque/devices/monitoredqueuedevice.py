"""Monitored queues: proxies whose copies say which way a message went."""

from __future__ import annotations

from zmq_monocoque.backend import monitored_queue
from zmq_monocoque.constants import PUB
from zmq_monocoque.devices.proxydevice import ProcessProxy, Proxy, ProxyBase, ThreadProxy

__all__ = ["MonitoredQueue", "ThreadMonitoredQueue", "ProcessMonitoredQueue"]


class MonitoredQueueBase(ProxyBase):
    """MonitoredQueueBase(in_type, out_type, mon_type=PUB, in_prefix=b"in", out_prefix=b"out").

    The prefix is the first part of each copy; else as `monitored_queue`.
    """

    _in_prefix = b""
    _out_prefix = b""

    def __init__(
        self,
        in_type: int,
        out_type: int,
        mon_type: int = PUB,
        in_prefix: bytes = b"in",
        out_prefix: bytes = b"out",
    ) -> None:
        super().__init__(in_type, out_type, mon_type)
        self._in_prefix = in_prefix
        self._out_prefix = out_prefix

    def run_device(self) -> None:
        ins, outs, mons = self._setup_sockets()
        monitored_queue(ins, outs, mons, self._in_prefix, self._out_prefix)


class MonitoredQueue(MonitoredQueueBase, Proxy):
    """MonitoredQueue(in_type, out_type, mon_type=PUB, in_prefix=b"in", out_prefix=b"out").

    A proxy in the foreground whose copies go out by a third socket, of ``mon_type``, each with the
    prefix of where it came from in front. Else as `monitored_queue`.
    """


class ThreadMonitoredQueue(MonitoredQueueBase, ThreadProxy):
    """`MonitoredQueue` in a thread."""


class ProcessMonitoredQueue(MonitoredQueueBase, ProcessProxy):
    """`MonitoredQueue` in a process."""
