"""zmq.devices: the classes, in the foreground, in threads and in processes."""

from __future__ import annotations

import importlib
import struct

import pytest
from support import TIMEOUT, Background, connected, eventually, fresh_inproc, port_of


@pytest.fixture
def devices(zmq):
    return importlib.import_module(f"{zmq.__name__}.devices")


@pytest.fixture
def started(zmq):
    """started(device) -> the device, running in its thread on a context of the fixture's."""
    running = []

    def start(device):
        context = zmq.Context()
        context.linger = 0
        device.context_factory = lambda: context
        device.start()
        running.append((device, context))
        return device

    yield start
    for device, context in running:
        context.term()  # the device closes its sockets on the way
        device.join(TIMEOUT)
        assert not device.launcher.is_alive()
        assert device.done


def free_endpoint(device, side: str) -> str:
    """Has a side of a device bind to a free port; the endpoint."""
    port = getattr(device, f"bind_{side}_to_random_port")("tcp://127.0.0.1")
    return f"tcp://127.0.0.1:{port}"


def test_a_device_without_a_type_is_a_type_error(zmq, devices):
    with pytest.raises(TypeError, match="in_type"):
        devices.Device()
    with pytest.raises(TypeError, match="out_type"):
        devices.Device(zmq.QUEUE, zmq.PULL)


def test_a_device_in_a_thread_passes_messages(zmq, devices, started, make):
    device = devices.ThreadDevice(zmq.STREAMER, zmq.PULL, zmq.PUSH)
    front, back = free_endpoint(device, "in"), free_endpoint(device, "out")
    assert device.daemon
    assert not device.done
    started(device)
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    push.connect(front)
    pull.connect(back)
    push.send_multipart([b"a", b"b"])
    assert pull.recv_multipart() == [b"a", b"b"]


def test_a_device_connects_where_it_is_told(zmq, devices, started, make):
    front, back = make(zmq.DEALER), make(zmq.DEALER)
    device = devices.ThreadDevice(zmq.QUEUE, zmq.DEALER, zmq.DEALER)
    for connect, s in ((device.connect_in, front), (device.connect_out, back)):
        s.bind("tcp://127.0.0.1:*")
        connect(s.last_endpoint.decode())
    started(device)
    connected(front, back)
    front.send(b"there")
    assert back.recv() == b"there"
    back.send(b"back")
    assert front.recv() == b"back"


@pytest.mark.parametrize("side", ["in", "out"])
def test_a_device_of_one_socket_echoes_whichever_side_was_set_up(zmq, devices, started, make, side):
    device = devices.ThreadDevice(zmq.QUEUE, zmq.REP, -1)
    endpoint = free_endpoint(device, side)
    started(device)
    req = make(zmq.REQ)
    req.connect(endpoint)
    for body in (b"one", b"two"):
        req.send(body)
        assert req.recv() == body


def test_options_are_set_before_the_socket_binds(zmq, devices, started, make):
    device = devices.ThreadDevice(zmq.QUEUE, zmq.ROUTER, zmq.DEALER)
    device.setsockopt_in(zmq.IDENTITY, b"the-front")
    device.setsockopt_out(zmq.IDENTITY, b"the-back")
    front, back = free_endpoint(device, "in"), free_endpoint(device, "out")
    started(device)
    for endpoint, identity in ((front, b"the-front"), (back, b"the-back")):
        router = make(zmq.ROUTER, probe_router=1, router_mandatory=1)
        router.connect(endpoint)
        eventually(lambda router=router, identity=identity: sends(zmq, router, identity))


def sends(zmq, router, identity: bytes) -> bool:
    """Does the router know this peer?"""
    try:
        router.send_multipart([identity, b""])
    except zmq.ZMQError as error:
        assert error.errno == zmq.EHOSTUNREACH
        return False
    return True


def test_a_device_in_the_foreground_ends_with_its_context(zmq, devices):
    device = devices.Device(zmq.QUEUE, zmq.DEALER, zmq.DEALER)
    context = zmq.Context()
    device.context_factory = lambda: context
    device.bind_in(fresh_inproc())
    device.bind_out(fresh_inproc())
    background = Background(device.start).blocked()
    assert not device.done
    context.term()
    background.result()
    assert device.done
    device.join(TIMEOUT)


def test_what_goes_wrong_in_a_device_is_raised_and_it_is_done(zmq, devices):
    device = devices.Device(zmq.QUEUE, zmq.PULL, zmq.PUSH)
    context = zmq.Context()
    device.context_factory = lambda: context
    device.bind_in("nonsense")
    with pytest.raises(zmq.ZMQError, match="nonsense"):
        device.start()
    assert device.done
    context.term()  # no socket is left


def test_random_ports_are_different_and_within_the_range(zmq, devices):
    device = devices.Device(zmq.QUEUE, zmq.PULL, zmq.PUSH)
    ports = [device.bind_in_to_random_port("tcp://127.0.0.1") for _ in range(5)]
    assert len(set(ports)) == 5
    port = device.bind_out_to_random_port("tcp://127.0.0.1", min_port=20000, max_port=21000)
    assert 20000 <= port < 21000


def test_without_a_free_port_a_bind_error_is_raised(zmq, devices, make):
    holder = make(zmq.PUSH)
    holder.bind("tcp://127.0.0.1:*")
    taken = port_of(holder)
    device = devices.Device(zmq.QUEUE, zmq.PULL, zmq.PUSH)
    with pytest.raises(zmq.ZMQBindError):
        device.bind_in_to_random_port(
            "tcp://127.0.0.1", min_port=taken, max_port=taken + 1, max_tries=2
        )


def test_a_proxy_in_a_thread_shows_everything_to_its_monitor(zmq, devices, started, make):
    device = devices.ThreadProxy(zmq.PULL, zmq.PUSH, zmq.PUSH)
    front, back = free_endpoint(device, "in"), free_endpoint(device, "out")
    monitor = free_endpoint(device, "mon")
    started(device)
    push, pull, seen = make(zmq.PUSH), make(zmq.PULL), make(zmq.PULL)
    push.connect(front)
    pull.connect(back)
    seen.connect(monitor)
    push.send(b"x")
    assert pull.recv() == b"x"
    assert seen.recv() == b"x"


def test_a_monitored_queue_in_a_thread_says_which_way_messages_went(zmq, devices, started, make):
    device = devices.ThreadMonitoredQueue(
        zmq.DEALER, zmq.DEALER, zmq.PUSH, in_prefix=b"to", out_prefix=b"fro"
    )
    front, back = free_endpoint(device, "in"), free_endpoint(device, "out")
    monitor = free_endpoint(device, "mon")
    started(device)
    one, other, seen = make(zmq.DEALER), make(zmq.DEALER), make(zmq.PULL)
    one.connect(front)
    other.connect(back)
    seen.connect(monitor)
    one.send(b"hello")
    assert other.recv() == b"hello"
    assert seen.recv_multipart() == [b"to", b"hello"]
    other.send(b"bye")
    assert one.recv() == b"bye"
    assert seen.recv_multipart() == [b"fro", b"bye"]


@pytest.fixture
def steered(zmq, devices, on_libzmq, make):
    """A steerable proxy in a thread, and the sockets at its ends: device, control, push, pull."""
    if on_libzmq:
        pytest.skip("libzmq 4.3.5 has no steerable proxies")
    device = devices.ThreadProxySteerable(zmq.PULL, zmq.PUSH, zmq.PUB, zmq.PAIR)
    context = zmq.Context()
    context.linger = 0
    device.context_factory = lambda: context
    ends = []
    for side, kind in (("ctrl", zmq.PAIR), ("in", zmq.PUSH), ("out", zmq.PULL)):
        endpoint = free_endpoint(device, side)
        s = make(kind)
        s.connect(endpoint)
        ends.append(s)
    device.start()
    yield device, *ends
    context.term()
    device.join(TIMEOUT)
    assert not device.launcher.is_alive()


def test_a_steerable_proxy_is_paused_resumed_counted_and_ended(zmq, steered):
    device, control, push, pull = steered
    push.send(b"first")
    assert pull.recv() == b"first"
    control.send(b"STATISTICS")
    counts = [struct.unpack("=Q", part)[0] for part in control.recv_multipart()]
    assert len(counts) == 8
    assert counts[:2] == [1, 5]
    control.send(b"PAUSE")
    control.send(b"STATISTICS")
    control.recv_multipart()  # the pause was before it
    push.send(b"second")
    assert not pull.poll(100)
    control.send(b"RESUME")
    assert pull.recv() == b"second"
    control.send(b"TERMINATE")
    device.join(TIMEOUT)
    assert device.done


def test_a_device_in_a_process_passes_messages(zmq, devices, make):
    device = devices.ProcessDevice(zmq.STREAMER, zmq.PULL, zmq.PUSH)
    front, back = free_endpoint(device, "in"), free_endpoint(device, "out")
    device.start()
    try:
        push, pull = make(zmq.PUSH), make(zmq.PULL)
        push.connect(front)
        pull.connect(back)
        push.send(b"through a process")
        assert pull.recv() == b"through a process"
        assert device.launcher.daemon
    finally:
        device.launcher.terminate()
        device.join(TIMEOUT)
    assert not device.launcher.is_alive()


def test_every_kind_comes_in_three_places(devices):
    for kind in ("Device", "Proxy", "ProxySteerable", "MonitoredQueue"):
        name = "Device" if kind == "Device" else kind
        for place in ("", "Thread", "Process"):
            assert issubclass(getattr(devices, f"{place}{name}"), devices.Device)
            assert f"{place}{name}" in devices.__all__
