"""Devices: what passes messages on between two sockets, here, in a thread or in a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmq_monocoque.backend import proxy as proxy
from zmq_monocoque.constants import DeviceType as DeviceType
from zmq_monocoque.devices.basedevice import Device, ProcessDevice, ThreadDevice
from zmq_monocoque.devices.monitoredqueue import monitored_queue
from zmq_monocoque.devices.monitoredqueuedevice import (
    MonitoredQueue,
    ProcessMonitoredQueue,
    ThreadMonitoredQueue,
)
from zmq_monocoque.devices.proxydevice import ProcessProxy, Proxy, ThreadProxy
from zmq_monocoque.devices.proxysteerabledevice import (
    ProcessProxySteerable,
    ProxySteerable,
    ThreadProxySteerable,
)

if TYPE_CHECKING:  # see __init__.pyi of the package
    from zmq_monocoque.devices import basedevice as basedevice
    from zmq_monocoque.devices import monitoredqueue as monitoredqueue
    from zmq_monocoque.devices import monitoredqueuedevice as monitoredqueuedevice
    from zmq_monocoque.devices import proxydevice as proxydevice
    from zmq_monocoque.devices import proxysteerabledevice as proxysteerabledevice

__all__ = [
    "Device",
    "ThreadDevice",
    "ProcessDevice",
    "Proxy",
    "ThreadProxy",
    "ProcessProxy",
    "ProxySteerable",
    "ThreadProxySteerable",
    "ProcessProxySteerable",
    "monitored_queue",
    "MonitoredQueue",
    "ThreadMonitoredQueue",
    "ProcessMonitoredQueue",
]
