"""Socket: life, options, endpoints, shadows, and messages that are more than bytes."""

from __future__ import annotations

import copy
import dis
import errno
import gc
import importlib
import pickle
import sys
import warnings
from unittest import mock

import pytest


@pytest.fixture
def pair(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    a.bind("inproc://pair")
    b.connect("inproc://pair")
    return a, b


def named(thing) -> str:
    return repr(thing).replace(hex(id(thing)), "ADDRESS")


def error_of(zmq, call) -> int:
    with pytest.raises(zmq.ZMQError) as raised:
        call()
    return raised.value.errno


# --- life ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    "PAIR PUB SUB REQ REP DEALER ROUTER PULL PUSH XPUB XSUB STREAM".split(),
)
def test_every_stable_type_can_be_made(zmq, make, name):
    s = make(getattr(zmq, name))
    assert s.type is getattr(zmq, name)
    assert s.get(zmq.TYPE) == s.TYPE == getattr(zmq, name).value
    assert type(s.get(zmq.TYPE)) is int
    assert named(s) == f"<zmq.Socket(zmq.{name}) at ADDRESS>"
    s.close()
    assert named(s) == f"<zmq.Socket(zmq.{name}) at ADDRESS closed>"


def test_the_default_type_is_pair(zmq, ctx):
    with zmq.Socket(ctx) as s:
        assert s.type is zmq.PAIR
        assert s.context is ctx


def test_a_socket_needs_a_context(zmq):
    for make in (lambda: zmq.Socket(), lambda: zmq.Socket(None, zmq.PUSH)):
        with pytest.raises(TypeError, match="context must be specified"):
            make()
    with pytest.raises(TypeError):
        zmq.Socket(5)


def test_a_type_needs_to_be_given(zmq, ctx):
    with pytest.raises(TypeError, match="socket_type must be specified"):
        ctx.socket(-1)
    with pytest.raises(TypeError):
        ctx.socket("x")


def test_socket_type_is_deprecated(zmq, make):
    with pytest.warns(DeprecationWarning, match="socket_type is deprecated"):
        assert make(zmq.PUSH).socket_type == zmq.PUSH


def test_close_ends_every_call(zmq, make):
    s = make(zmq.PAIR)
    s.close()
    assert s.closed and s._closed
    assert s.underlying == 0
    for call in (
        lambda: s.linger,
        lambda: setattr(s, "linger", 1),
        lambda: s.get(zmq.LINGER),
        lambda: s.send(b"x"),
        lambda: s.send_multipart([b"x"]),
        lambda: s.recv(),
        lambda: s.recv_multipart(),
        lambda: s.recv_into(bytearray(1)),
        lambda: s.bind("inproc://x"),
        lambda: s.connect("inproc://x"),
        lambda: s.unbind("inproc://x"),
        lambda: s.disconnect("inproc://x"),
        lambda: s.fileno(),
        lambda: s.hwm,
        lambda: s.get_monitor_socket(),
        lambda: s.disable_monitor(),
    ):
        assert error_of(zmq, call) == errno.ENOTSOCK
    s.close()
    s.close(linger=0)


def test_a_with_block_closes(zmq, ctx):
    with ctx.socket(zmq.PUSH) as s:
        assert not s.closed
    assert s.closed


def test_close_takes_the_linger(zmq, ctx):
    s = ctx.socket(zmq.PUSH)
    s.connect("tcp://127.0.0.1:1")
    s.send(b"never leaves")
    s.close(linger=0)
    ctx.term()  # would wait for ever


def test_linger_is_a_number(zmq, make):
    with pytest.raises(TypeError):
        make(zmq.PUSH).close("x")


def test_a_forgotten_socket_warns_and_is_closed(zmq, ctx):
    with pytest.warns(ResourceWarning, match=r"Unclosed socket <zmq.Socket\(zmq.PUSH\)") as caught:
        s = ctx.socket(zmq.PUSH)
        shadow = zmq.Socket.shadow(s.underlying)
        del s
        gc.collect()
    source = caught[0].source
    assert isinstance(source, zmq.Socket) and source.closed
    assert shadow.closed


def test_a_socket_whose_making_failed_is_collected_in_silence(zmq, ctx):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(zmq.ZMQError):
            ctx.socket(99)
        gc.collect()


# --- shadows -----------------------------------------------------------------------------------


def test_shadows_stand_for_the_same_socket(zmq, make):
    s = make(zmq.PUSH)
    by_object = [zmq.Socket(s), zmq.Socket(shadow=s), zmq.Socket.shadow(s)]
    by_number = [zmq.Socket(shadow=s.underlying), zmq.Socket.shadow(s.underlying)]
    for shadow in by_object:
        assert shadow._shadow_obj is s
        assert shadow.context is s.context
    for shadow in by_number:
        assert shadow.context is None
    for shadow in [*by_object, *by_number, copy.copy(s), copy.deepcopy(s)]:
        assert shadow.underlying == s.underlying
        assert shadow.type is zmq.PUSH
        assert shadow._shadow
        shadow.linger = 3
        assert s.linger == 3
        s.linger = 0


def test_a_forgotten_shadow_closes_nothing(zmq, make):
    s = make(zmq.PUSH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zmq.Socket.shadow(s)
        gc.collect()
    assert not s.closed


def test_closing_is_seen_from_both_sides(zmq, make):
    s = make(zmq.PUSH)
    shadow = zmq.Socket.shadow(s)
    s.close()
    assert not shadow._closed
    assert error_of(zmq, lambda: shadow.EVENTS) == errno.ENOTSOCK
    assert shadow.closed and shadow._closed

    s = make(zmq.PUSH)
    zmq.Socket.shadow(s).close()
    assert s.closed


def test_a_shadow_of_nothing_is_refused(zmq, make):
    s = make(zmq.PUSH)
    s.close()
    with pytest.raises(TypeError, match="context must be specified"):
        zmq.Socket(s)
    with pytest.raises(ValueError, match="Cannot cast"):
        zmq.Socket.shadow("x")


def test_a_stale_number_is_enotsock(zmq, make, on_libzmq):
    if on_libzmq:
        pytest.skip("libzmq's number is a pointer to freed memory")
    s = make(zmq.PUSH)
    number = s.underlying
    s.close()
    for stale in (number, number + (1 << 40), 1, 1 << 60):
        assert error_of(zmq, lambda stale=stale: zmq.Socket.shadow(stale)) == errno.ENOTSOCK


# --- options -------------------------------------------------------------------------------------


def test_options_are_ints_and_bytes(zmq, make):
    s = make(zmq.DEALER)
    s.set(zmq.LINGER, True)
    assert s.get(zmq.LINGER) == s.getsockopt(zmq.LINGER) == s.linger == 1
    s.setsockopt(zmq.MAXMSGSIZE, 1 << 40)
    assert s.maxmsgsize == 1 << 40
    s.identity = b"a\0b\0"
    assert s.identity == s.ROUTING_ID == b"a\0b\0"
    assert type(s.FD) is type(s.EVENTS) is int
    assert s.fileno() == s.FD


@pytest.mark.parametrize(
    ("option", "value", "error", "text"),
    [
        ("LINGER", "x", TypeError, "unicode not allowed, use setsockopt_string"),
        ("LINGER", b"x", TypeError, "expected int, got: b'x'"),
        ("LINGER", 1.0, TypeError, "expected int, got: 1.0"),
        ("LINGER", None, TypeError, "expected int, got: None"),
        ("LINGER", 1 << 31, OverflowError, "large|big|fit"),
        ("MAXMSGSIZE", 1 << 63, OverflowError, "large|big|fit"),
        ("MAXMSGSIZE", 1.0, TypeError, "expected int"),
        ("IDENTITY", "x", TypeError, "unicode not allowed"),
        ("IDENTITY", 5, TypeError, "expected bytes, got: 5"),
        ("IDENTITY", bytearray(b"x"), TypeError, "expected bytes, got: bytearray"),
        ("IDENTITY", None, TypeError, "expected bytes, got: None"),
    ],
)
def test_values_of_another_type_are_refused(zmq, make, option, value, error, text):
    with pytest.raises(error, match=text):
        make(zmq.DEALER).set(getattr(zmq, option), value)


def test_unknown_options_are_einval(zmq, make):
    s = make(zmq.PUSH)
    for call in (
        lambda: s.get(999),
        lambda: s.set(999, 1),
        lambda: s.get(zmq.SUBSCRIBE),
        lambda: s.set(zmq.RCVMORE, 1),
        lambda: setattr(s, "fd", 1),
    ):
        assert error_of(zmq, call) == errno.EINVAL
    for bad in ("x", None):
        with pytest.raises(TypeError):
            s.get(bad)
        with pytest.raises(TypeError):
            s.set(bad, 1)
    with pytest.raises(OverflowError):
        s.get(1 << 40)


def test_attributes_are_options_and_nothing_else(zmq, make):
    s = make(zmq.PUSH)
    assert s.push == s.rate == 100  # 8, the number of PUSH, is that of RATE
    for name in ("nope", "_private"):
        with pytest.raises(AttributeError, match=f"Socket has no such option: {name.upper()}"):
            setattr(s, name, 1)
    with pytest.raises(AttributeError, match="(?i)nope"):
        s.nope  # noqa: B018
    for name in ("SUBSCRIBE", "CONNECT_RID", "HWM"):
        with pytest.raises(AttributeError, match=f"{name} attribute is write-only"):
            getattr(s, name)
    s.copy_threshold = 7
    assert s.copy_threshold == 7
    for name in ("closed", "underlying"):
        with pytest.raises(AttributeError):
            setattr(s, name, 1)


def test_a_subclass_may_read_options_in_its_own_way(zmq, ctx):
    class Mine(zmq.Socket):
        linger: int

        def __getattr__(self, key):
            return "mine" if key == "rate" else super().__getattr__(key)

    with ctx.socket(zmq.PUSH, socket_class=Mine) as s:
        assert (s.rate, s.RATE, s.SndHWM) == ("mine", 100, 1000)
        s.linger = 7  # declared, so no option
        assert (s.linger, s.get(zmq.LINGER)) == (7, -1)


def method_lookups(socket):
    """How this Python's interpreter has come to find a method of ``socket``."""

    def call():
        socket.get_hwm()

    for _ in range(100):
        call()
    names = [op.opname for op in dis.get_instructions(call, adaptive=True)]
    return [name for name in names if name.startswith("LOAD_METHOD")]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="others have other names for it")
@pytest.mark.parametrize("kind", ["sync", "subclass", "asyncio"])
def test_a_method_is_found_without_asking_getattr(zmq, ctx, on_libzmq, kind):
    """Half of the time of `recv` was spent on finding it."""
    if on_libzmq:
        pytest.skip("pyzmq asks")
    cls = {"sync": zmq.Socket, "subclass": type("Mine", (zmq.Socket,), {})}.get(kind)
    if kind == "asyncio":
        cls = importlib.import_module(f"{zmq.__name__}.asyncio").Socket
    with cls(ctx, zmq.PULL) as s:
        s.linger = 0
        assert method_lookups(s) == ["LOAD_METHOD_WITH_DICT"]


def test_a_subclass_may_have_attributes_of_its_own(zmq, ctx):
    class Mine(zmq.Socket):
        plain = 1
        annotated: int

        def __init__(self, *args, extra=None, **kwargs):
            super().__init__(*args, **kwargs)
            self.plain = extra

    with ctx.socket(zmq.PUSH, socket_class=Mine, extra=5) as s:
        s.annotated = 6
        assert (s.plain, s.annotated) == (5, 6)
        assert named(s) == f"<{__name__}.Mine(zmq.PUSH) at ADDRESS>"


def test_the_setters_of_the_base_stay_where_a_subclass_overrides_set(zmq, ctx):
    class Mine(zmq.Socket):
        def set(self, option, value):
            raise AssertionError

        def get(self, option):
            return "mine"

    with ctx.socket(zmq.PUSH, socket_class=Mine) as s:
        s.setsockopt(zmq.LINGER, 3)
        assert s.getsockopt(zmq.LINGER) == 3
        assert s.linger == "mine"


def test_mocks_and_dir_work(zmq, make):
    s = make(zmq.SUB)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        mock.Mock(spec=s).recv()
    assert {"send", "LINGER", "SNDHWM", "subscribe"} <= set(dir(s))


def test_strings_are_encoded_for_bytes_options(zmq, make):
    s = make(zmq.DEALER)
    s.set_string(zmq.IDENTITY, "hé", encoding="utf-16")
    assert s.identity == "hé".encode("utf-16")
    assert s.get_string(zmq.IDENTITY, encoding="utf-16") == "hé"
    assert s.getsockopt_unicode(zmq.IDENTITY, "utf-16") == "hé"
    with pytest.raises(TypeError, match="strings only, not <class 'bytes'>"):
        s.set_string(zmq.IDENTITY, b"x")
    with pytest.raises(TypeError):
        s.setsockopt_string(zmq.LINGER, "x")
    with pytest.raises(TypeError, match="will not return a string"):
        s.get_string(zmq.LINGER)
    with pytest.raises(ValueError, match="999 is not a valid SocketOption"):
        s.get_string(999)


def test_hwm_is_both_directions(zmq, make):
    s = make(zmq.DEALER)
    assert s.hwm == 1000
    s.hwm = 5
    assert (s.hwm, s.get_hwm(), s.SNDHWM, s.RCVHWM) == (5, 5, 5, 5)
    assert error_of(zmq, lambda: s.set_hwm(-1)) == errno.EINVAL
    with pytest.raises(TypeError):
        s.hwm = "x"


def test_subscribe_is_a_method_and_can_be_assigned_to(zmq, make):
    sub, pub = make(zmq.SUB), make(zmq.XPUB)
    pub.bind("inproc://pub")
    sub.connect("inproc://pub")
    sub.subscribe("é")
    assert pub.recv() == b"\x01\xc3\xa9"
    sub.unsubscribe("é".encode())
    assert pub.recv() == b"\x00\xc3\xa9"
    sub.subscribe = "x"
    assert pub.recv() == b"\x01x"
    sub.UNSUBSCRIBE = b"x"
    assert pub.recv() == b"\x00x"
    for topic in (5, None, bytearray(b"x")):
        with pytest.raises(TypeError, match="expected bytes"):
            sub.subscribe(topic)
    assert error_of(zmq, lambda: make(zmq.PUSH).subscribe(b"x")) == errno.EINVAL


# --- endpoints -----------------------------------------------------------------------------------


def test_bind_and_connect_can_be_left_again(zmq, make):
    s, c = make(zmq.PUSH), make(zmq.PULL)
    with s.bind("tcp://127.0.0.1:0") as inside:
        assert inside is s
        address = s.LAST_ENDPOINT.decode()
        assert s.bind("tcp://127.0.0.1:*").addr.startswith("tcp://127.0.0.1:")
        with c.connect(address) as connected:
            assert connected is c
        assert error_of(zmq, lambda: c.disconnect(address)) == errno.ENOENT
    assert error_of(zmq, lambda: s.unbind(address)) == errno.ENOENT
    assert repr(c.connect(address)) == f"<SocketContext(connect={address!r})>"
    with make(zmq.PULL).connect("inproc://x") as closed_inside:
        closed_inside.close()


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("tcp://", errno.EINVAL),
        ("tcp://127.0.0.1", errno.EINVAL),
        ("tcp://127.0.0.1:x", errno.EINVAL),
        ("tcp://*", errno.EINVAL),
        ("ipc://", errno.EINVAL),
        ("inproc://", errno.EINVAL),
        ("bogus", errno.EINVAL),
        ("", errno.EINVAL),
        ("é", errno.EINVAL),
        (b"bogus", errno.EINVAL),
        ("ftl://a", errno.EPROTONOSUPPORT),
        ("udp://127.0.0.1:5555", 156384764),
    ],
)
def test_a_bad_endpoint_is_named_in_the_error(zmq, make, address, number):
    s = make(zmq.PUSH)
    for call in (s.bind, s.connect):
        with pytest.raises(zmq.ZMQError) as raised:
            call(address)
        assert raised.value.errno == number
        assert str(raised.value) == f"{zmq.strerror(number)} (addr={address!r})"


def test_bind_says_what_is_in_the_way(zmq, make):
    s, other = make(zmq.PUSH), make(zmq.PUSH)
    s.bind("inproc://taken")
    assert error_of(zmq, lambda: other.bind("inproc://taken")) == errno.EADDRINUSE
    port = s.bind_to_random_port("tcp://127.0.0.1")
    assert error_of(zmq, lambda: other.bind(f"tcp://127.0.0.1:{port}")) == errno.EADDRINUSE
    assert error_of(zmq, lambda: s.bind("tcp://192.0.2.1:5")) == errno.EADDRNOTAVAIL
    assert error_of(zmq, lambda: s.bind("tcp://no-host.invalid:5")) == errno.ENODEV
    s.connect("tcp://no-host.invalid:5")


def test_ipc_errors_name_the_path(zmq, make):
    s = make(zmq.PUSH)
    long = "/" + "a" * 200
    with pytest.raises(zmq.ZMQError) as raised:
        s.bind(f"ipc://{long}")
    assert raised.value.errno == errno.ENAMETOOLONG
    assert str(raised.value).startswith(f'ipc path "{long}" is longer than 107 characters')
    with pytest.raises(zmq.ZMQError) as raised:
        s.bind("ipc:///no-such-directory/s")
    assert raised.value.errno == errno.ENOENT
    assert 'for ipc path "/no-such-directory/s"' in str(raised.value)


def test_unbinding_what_was_not_bound_is_enoent(zmq, make):
    s = make(zmq.PUSH)
    for call in (s.unbind, s.disconnect):
        assert error_of(zmq, lambda call=call: call("tcp://127.0.0.1:5")) == errno.ENOENT
        assert error_of(zmq, lambda call=call: call("inproc://nope")) == errno.ENOENT
        assert error_of(zmq, lambda call=call: call("bogus")) == errno.EINVAL


@pytest.mark.parametrize("method", ["bind", "connect", "unbind", "disconnect", "monitor"])
def test_an_address_is_text(zmq, make, method):
    with pytest.raises(TypeError, match="Expected addr to be str, got addr=5"):
        getattr(make(zmq.PUSH), method)(5)


def test_a_random_port_is_the_systems_or_one_of_the_range(zmq, make):
    s = make(zmq.PUSH)
    port = s.bind_to_random_port("tcp://127.0.0.1")
    assert s.LAST_ENDPOINT == f"tcp://127.0.0.1:{port}".encode()
    assert 49152 <= s.bind_to_random_port("tcp://127.0.0.1", 49152, 65535) < 65535
    with pytest.raises(zmq.ZMQBindError, match="Could not bind socket to random port"):
        s.bind_to_random_port("tcp://127.0.0.1", port, port + 1, max_tries=2)
    for range_ in ((), (1000, 1001)):
        assert error_of(zmq, lambda r=range_: s.bind_to_random_port("bogus", *r)) == errno.EINVAL


# --- monitor -------------------------------------------------------------------------------------


def test_the_monitor_socket_is_made_once(zmq, make):
    utils = importlib.import_module(f"{zmq.__name__}.utils.monitor")
    recv_monitor_message = utils.recv_monitor_message
    s = make(zmq.PUSH)
    monitor = s.get_monitor_socket()
    monitor.rcvtimeo = 30_000
    try:
        assert monitor.type is zmq.PAIR
        assert monitor.context is s.context
        assert s.get_monitor_socket() is monitor
        s.bind("tcp://127.0.0.1:0")
        event = recv_monitor_message(monitor)
        assert event["event"] is zmq.EVENT_LISTENING
        assert event["endpoint"] == s.LAST_ENDPOINT
        s.disable_monitor()
        event = recv_monitor_message(monitor)
        assert event["event"] is zmq.EVENT_MONITOR_STOPPED
        s.disable_monitor()
    finally:
        monitor.close(linger=0)


def test_a_monitor_is_inproc(zmq, make):
    s = make(zmq.PUSH)
    assert error_of(zmq, lambda: s.monitor("bogus")) == errno.EINVAL
    assert error_of(zmq, lambda: s.monitor("tcp://127.0.0.1:0")) == errno.EPROTONOSUPPORT


# --- messages ------------------------------------------------------------------------------------


def test_strings_go_through_an_encoding(pair):
    a, b = pair
    a.send_string("é")
    assert b.recv() == b"\xc3\xa9"
    a.send_unicode("é", encoding="latin-1")
    assert b.recv_string(encoding="latin-1") == "é"
    with pytest.raises(TypeError, match="str objects only"):
        a.send_string(b"x")
    with pytest.raises(UnicodeEncodeError):
        a.send_string("é", encoding="ascii")
    a.send(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        b.recv_unicode()


def test_json_takes_the_keywords_of_both_sides(pair):
    a, b = pair
    a.send_json({"b": 1, "a": 2}, sort_keys=True, separators=(",", ":"))
    assert b.recv() == b'{"a":2,"b":1}'
    a.send_json([1])
    assert b.recv_json(parse_int=float) == [1.0]
    with pytest.raises(TypeError):
        a.send_json(object())
    with pytest.raises(RuntimeError):
        a.send_json({}, routing_id=5)
    a.send(b"{")
    with pytest.raises(ValueError):
        b.recv_json()


def test_objects_are_pickled(pair):
    a, b = pair
    a.send_pyobj({"a": [1]})
    body = b.recv()
    assert pickle.loads(body) == {"a": [1]}
    assert body[1] == pickle.DEFAULT_PROTOCOL
    a.send_pyobj(5, protocol=2)
    assert b.recv_pyobj() == 5
    a.send(b"x")
    with pytest.raises(pickle.UnpicklingError):
        b.recv_pyobj()


def test_a_serializer_makes_the_parts(pair):
    a, b = pair
    a.send_serialized([1, 2], lambda numbers: [bytes([n]) for n in numbers])
    assert b.recv_serialized(lambda parts: [part[0] for part in parts]) == [1, 2]
    a.send(b"x")
    assert b.recv_serialized(lambda frames: frames[0].bytes, copy=False) == b"x"
    a.send(b"x")
    with pytest.raises(ZeroDivisionError):
        b.recv_serialized(lambda parts: 1 / 0)


def test_what_is_loaded_goes_through_one_hook(zmq, ctx):
    class Mine(zmq.Socket):
        def _deserialize(self, recvd, load):
            return ("loaded", load(recvd))

    with ctx.socket(zmq.PAIR, socket_class=Mine) as a, ctx.socket(zmq.PAIR) as b:
        a.bind("inproc://hook")
        b.connect("inproc://hook")
        for send, recv, value in [
            (b.send_string, a.recv_string, "x"),
            (b.send_json, a.recv_json, {"x": 1}),
            (b.send_pyobj, a.recv_pyobj, {1}),
        ]:
            send(value)
            assert recv() == ("loaded", value)
        b.send(b"x")
        assert a.recv_serialized(lambda parts: parts) == ("loaded", [b"x"])


def test_the_calls_of_a_message_have_no_python_frame_of_ours(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq's have")
    for name in ("send", "recv", "send_multipart", "recv_multipart", "recv_into"):
        assert not hasattr(getattr(zmq.Socket, name), "__code__"), name


# --- devices -------------------------------------------------------------------------------------


def test_a_device_needs_sockets(zmq, make):
    a = make(zmq.PAIR)
    for call in (
        lambda: zmq.proxy(a, 5),
        lambda: zmq.proxy(a, None),
        lambda: zmq.proxy_steerable(a, None),
        lambda: zmq.device(zmq.QUEUE, a, None),
        lambda: zmq.backend.monitored_queue(a, a, None),
    ):
        with pytest.raises(TypeError):
            call()


# --- ours alone ----------------------------------------------------------------------------------


def test_a_socket_counts_its_messages(zmq, make, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq has no stats()")
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    b.connect(f"tcp://127.0.0.1:{a.bind_to_random_port('tcp://127.0.0.1')}")
    b.send_multipart([b"1", b"2"])
    assert a.recv_multipart() == [b"1", b"2"]
    assert b.stats()["messages_sent"] == 1
    assert a.stats()["messages_received"] == 1


def test_a_context_names_what_keeps_it_from_ending(zmq, make, ctx, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq has no holders()")
    assert ctx.holders() == []
    s = make(zmq.PUSH)
    s.bind("inproc://held")
    assert len(ctx.holders()) == 1
    s.close()
    assert ctx.holders() == []
