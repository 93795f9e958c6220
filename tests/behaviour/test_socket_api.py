"""The Python face of a socket: what calls take, return and raise."""

from __future__ import annotations

import array
import asyncio
import errno
import gc
import importlib
import json
import pickle

import pytest
from support import bind_over, drain, errno_of, free_port, fresh_inproc

BIG = b"x" * 70_000


@pytest.fixture
def pair(zmq, make):
    """Two connected PAIRs."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    b.connect(bind_over(a, "inproc", ""))
    return a, b


# --- send ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"bytes",
        b"",
        bytearray(b"bytearray"),
        memoryview(b"view"),
        memoryview(b"sliced view")[2:-2],
        array.array("i", [1, 2, 3]),
        array.array("d", [1.5]),
        memoryview(array.array("i", [1, 2, 3, 4])).cast("B").cast("i", (2, 2)),
    ],
    ids=lambda d: f"{type(d).__name__} of {memoryview(d).nbytes}",
)
@pytest.mark.parametrize("as_copy", [True, False])
def test_any_contiguous_buffer_is_sent_as_its_bytes(pair, data, as_copy):
    """Of whatever item size and shape."""
    a, b = pair
    b.send(data, copy=as_copy)
    assert a.recv() == memoryview(data).tobytes()


@pytest.mark.parametrize("bad", ["text", 5, None, 1.5, [b"x"]])
def test_what_is_no_buffer_is_a_type_error(pair, bad):
    a, b = pair
    with pytest.raises(TypeError):
        b.send(bad)
    with pytest.raises(TypeError):
        b.send(bad, copy=False)
    b.send(b"after")
    assert a.recv() == b"after"


def test_a_view_with_gaps_is_a_buffer_error(pair):
    """Non-contiguous."""
    _, b = pair
    with pytest.raises(BufferError):
        b.send(memoryview(b"abcdef")[::2])


def test_send_returns_a_tracker_or_nothing(zmq, pair):
    """The matrix of copy, size, track and Frame."""
    a, b = pair
    finished = zmq.sugar.tracker._FINISHED_TRACKER
    assert b.send(b"x") is None
    assert b.send(BIG) is None
    assert b.send(b"x", copy=False) is finished
    assert b.send(b"x", copy=False, track=True) is finished
    assert b.send(BIG, copy=False) is None
    tracker = b.send(BIG, copy=False, track=True)
    assert isinstance(tracker, zmq.MessageTracker)
    drain(a)
    gc.collect()
    tracker.wait(30)
    assert tracker.done


class OwnSend:
    """A class of sockets with a send() of its own, which send_multipart() goes through."""

    def send(self, *args, **kwargs):
        return super().send(*args, **kwargs)


def in_asyncio(zmq, s, parts):
    async def send():
        return (
            await importlib.import_module(f"{zmq.__name__}.asyncio")
            .Socket(s)
            .send_multipart(parts, copy=False, track=True)
        )

    return asyncio.run(send())


def in_green(zmq, s, parts):
    pytest.importorskip("gevent")
    green = importlib.import_module(f"{zmq.__name__}.green")
    return green.Socket.shadow(s).send_multipart(parts, copy=False, track=True)


def in_a_stream(zmq, s, parts):
    pytest.importorskip("tornado")

    async def send():
        stream = importlib.import_module(f"{zmq.__name__}.eventloop.zmqstream").ZMQStream(s)
        sent = asyncio.get_running_loop().create_future()
        stream.on_send(lambda message, tracker: sent.set_result(tracker))
        stream.send_multipart(parts, copy=False, track=True)
        try:
            return await sent
        finally:
            stream.io_loop.remove_handler(s)

    return asyncio.run(send())


SEND_PARTS = {
    "send_multipart": lambda z, s, p: s.send_multipart(p, copy=False, track=True),
    "send_serialized": lambda z, s, p: s.send_serialized(
        p, lambda parts: parts, copy=False, track=True
    ),
    "of frames": lambda z, s, p: s.send_multipart(
        [z.Frame(part, track=True, copy=len(part) < 10) for part in p], copy=False, track=True
    ),
    "frames that are tracked already": lambda z, s, p: s.send_multipart(
        [z.Frame(p[0], track=True, copy=False), *p[1:]], copy=False
    ),
    "a subclass": lambda z, s, p: type("Own", (OwnSend, z.Socket), {})(shadow=s).send_multipart(
        p, copy=False, track=True
    ),
    "asyncio": in_asyncio,
    "gevent": in_green,
    "a stream": in_a_stream,
}


@pytest.mark.parametrize("form", SEND_PARTS)
@pytest.mark.parametrize("big", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_the_tracker_of_a_message_is_one_of_all_its_parts(zmq, pair, on_libzmq, form, big):
    """Whichever of them the engine keeps the memory of."""
    if on_libzmq:
        pytest.skip("pyzmq answers the tracker of the last part")
    a, b = pair
    parts = [bytearray(BIG) if i in big else b"small" for i in range(3)]
    if form == "frames that are tracked already" and big == (1,):
        pytest.skip("the first one is small")
    tracker = SEND_PARTS[form](zmq, b, parts)
    assert isinstance(tracker, zmq.MessageTracker)
    assert not tracker.done
    # Each alone keeps it from being done.
    received = [a.recv(copy=False) for _ in parts]
    while received:
        gc.collect()
        if any(len(frame) > 10 for frame in received):
            assert not tracker.done
        received.pop()
    gc.collect()
    tracker.wait(30)
    assert tracker.done


def test_the_tracker_of_small_parts_is_the_finished_one(zmq, pair):
    a, b = pair
    finished = zmq.sugar.tracker._FINISHED_TRACKER
    assert b.send_multipart([b"x", b"y"], copy=False, track=True) is finished
    frame = zmq.Frame(BIG, track=True)
    assert b.send_multipart([b"x", frame], copy=False) is frame.tracker


def test_a_frame_brings_its_tracker(zmq, pair):
    """Whatever copy says; track needs a tracked one."""
    a, b = pair
    tracked, untracked = zmq.Frame(BIG, track=True), zmq.Frame(BIG)
    assert b.send(tracked) is tracked.tracker
    assert b.send(tracked, copy=False) is tracked.tracker
    assert b.send(untracked) is None
    with pytest.raises(ValueError):
        b.send(untracked, track=True)
    assert drain(a) == [BIG] * 3


def test_the_threshold_of_copying_belongs_to_the_socket(zmq, ctx):
    """Below it a send with copy=False copies."""
    a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR, copy_threshold=10)
    address = fresh_inproc()
    a.bind(address)
    b.connect(address)
    finished = zmq.sugar.tracker._FINISHED_TRACKER
    assert a.copy_threshold == zmq.COPY_THRESHOLD == 65_536
    assert b.copy_threshold == 10
    assert b.send(b"123456789", copy=False, track=True) is finished
    assert b.send(b"1234567890", copy=False, track=True) is not finished
    b.copy_threshold = 0
    assert b.send(b"", copy=False, track=True) is not finished
    assert [a.recv() for _ in range(3)] == [b"123456789", b"1234567890", b""]


def test_send_multipart_checks_every_part_first(pair):
    """Nothing is sent if one is bad."""
    a, b = pair
    for bad in ([b"a", "text"], [b"a", 5], [None], [b"a", b"b", object()]):
        with pytest.raises(TypeError):
            b.send_multipart(bad)
    assert not a.poll(0)
    b.send_multipart((b"tuple", bytearray(b"of"), memoryview(b"parts")))
    assert a.recv_multipart() == [b"tuple", b"of", b"parts"]


def test_send_multipart_needs_a_sequence(pair):
    """An iterator is a TypeError, nothing at all an IndexError."""
    _, b = pair
    with pytest.raises(TypeError):
        b.send_multipart(iter([b"a", b"b"]))
    with pytest.raises(IndexError):
        b.send_multipart([])


def test_send_multipart_returns_what_the_last_part_returned(zmq, pair):
    _, b = pair
    finished = zmq.sugar.tracker._FINISHED_TRACKER
    assert b.send_multipart([b"a", b"b"]) is None
    assert b.send_multipart([b"a", b"b"], copy=False, track=True) is finished
    assert b.send_multipart([b"a", BIG], copy=False) is None
    tracker = b.send_multipart([b"a", BIG], copy=False, track=True)
    assert isinstance(tracker, zmq.MessageTracker) and tracker is not finished


def test_sndmore_makes_a_multipart_by_hand(zmq, pair):
    a, b = pair
    b.send(b"1", zmq.SNDMORE)
    b.send(b"2", flags=zmq.SNDMORE | zmq.DONTWAIT)
    b.send(b"3")
    assert a.recv() == b"1"
    assert a.rcvmore == 1
    assert a.get(zmq.RCVMORE) == 1
    assert a.recv_multipart() == [b"2", b"3"]
    assert a.rcvmore == 0


# --- recv ---------------------------------------------------------------------------------------


def test_recv_copies_or_hands_out_a_frame(zmq, pair):
    """Bytes, or zmq.Frame with `more`."""
    a, b = pair
    b.send_multipart([b"1", b"2"])
    frame = a.recv(copy=False)
    assert type(frame) is zmq.Frame
    assert (frame.bytes, frame.more) == (b"1", True)
    frame = a.recv(copy=False, track=True)
    assert (frame.bytes, frame.more) == (b"2", False)
    b.send_multipart([b"1", BIG])
    frames = a.recv_multipart(copy=False)
    assert [type(f) for f in frames] == [zmq.Frame] * 2
    assert bytes(memoryview(frames[1])) == BIG
    assert not memoryview(frames[1]).readonly


def test_recv_without_waiting(zmq, pair):
    """parity.md, row 61: Again, by flag and by timeout."""
    a, _ = pair
    with pytest.raises(zmq.Again) as caught:
        a.recv(zmq.DONTWAIT)
    assert caught.value.errno == errno.EAGAIN
    assert errno_of(zmq.Again, a.recv, flags=zmq.NOBLOCK, copy=False) == errno.EAGAIN
    assert errno_of(zmq.Again, a.recv_multipart, zmq.DONTWAIT) == errno.EAGAIN
    a.rcvtimeo = 10
    assert errno_of(zmq.Again, a.recv) == errno.EAGAIN
    a.rcvtimeo = 0
    assert errno_of(zmq.Again, a.recv) == errno.EAGAIN


@pytest.mark.parametrize("size", [0, 1, 5, 32, 33, 34, 1000, 100_000])
@pytest.mark.parametrize("room", [1, 33, 100_000])
def test_recv_into_fills_a_buffer_and_tells_the_full_size(pair, size, room):
    """The rest is lost, the size is not."""
    a, b = pair
    data = bytes(i & 0xFF for i in range(size))
    buffer = bytearray(b"\xee" * room)
    b.send(data)
    assert a.recv_into(buffer) == size
    kept = min(size, room)
    assert buffer[:kept] == data[:kept]
    assert buffer[kept:] == b"\xee" * (room - kept)


def test_recv_into_a_part_of_a_buffer(zmq, pair):
    """nbytes."""
    a, b = pair
    buffer = bytearray(10)
    for _ in range(4):
        b.send(b"abcdef")
    assert a.recv_into(buffer, nbytes=3) == 6
    assert buffer == b"abc" + bytes(7)
    assert a.recv_into(buffer, nbytes=0) == 6, "0: the whole buffer"
    assert a.recv_into(array.array("i", [0, 0])) == 6
    assert a.recv_into(bytearray()) == 6, "no room: discarded"
    assert errno_of(zmq.Again, a.recv_into, buffer, flags=zmq.DONTWAIT) == errno.EAGAIN


def test_recv_into_refuses_bad_buffers(pair):
    """Before anything is taken."""
    a, b = pair
    b.send(b"data")
    with pytest.raises(ValueError):
        a.recv_into(bytearray(5), nbytes=-1)
    with pytest.raises(ValueError):
        a.recv_into(bytearray(5), nbytes=6)
    with pytest.raises(BufferError):
        a.recv_into(b"readonly")
    with pytest.raises(BufferError):
        a.recv_into(memoryview(bytearray(10))[::2])
    for bad in ("text", 5, None):
        with pytest.raises(TypeError):
            a.recv_into(bad)
    with pytest.raises(TypeError):
        a.recv_into()
    assert a.recv() == b"data"


def test_recv_into_knows_of_more(pair):
    a, b = pair
    b.send_multipart([b"1", b"2"])
    buffer = bytearray(1)
    assert a.recv_into(buffer) == 1 and a.rcvmore == 1 and buffer == b"1"
    assert a.recv_into(buffer) == 1 and a.rcvmore == 0 and buffer == b"2"


# --- strings and objects --------------------------------------------------------------------------


def test_strings_travel_in_an_encoding(pair):
    """UTF-8 unless told."""
    a, b = pair
    b.send_string("gr\u00fc\u00df dich")
    assert a.recv() == "gr\u00fc\u00df dich".encode()
    b.send_string("gr\u00fc\u00df", encoding="latin-1")
    assert a.recv_string(encoding="latin-1") == "gr\u00fc\u00df"
    b.send_unicode("x")
    assert a.recv_unicode() == "x"
    with pytest.raises(TypeError):
        b.send_string(b"bytes")
    b.send(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        a.recv_string()


def test_json_travels_with_its_options(pair):
    a, b = pair
    thing = {"a": [1, 2.5, None, "\u00fc"], "b": {"c": True}}
    b.send_json(thing)
    assert a.recv_json() == thing
    b.send_json(thing, sort_keys=True, indent=1)
    assert json.loads(text := a.recv()) == thing and text.startswith(b'{\n "a"')
    b.send_json([1.5])
    assert a.recv_json(parse_float=str) == ["1.5"]
    with pytest.raises(TypeError):
        b.send_json(object())
    assert not a.poll(0)


def test_python_objects_travel_by_pickle(pair):
    a, b = pair
    thing = {"set": {1, 2}, "tuple": (1, b"x")}
    b.send_pyobj(thing)
    assert a.recv_pyobj() == thing
    b.send_pyobj(thing, protocol=0)
    assert pickle.loads(a.recv()) == thing


def test_anything_travels_with_functions_of_ones_own(pair):
    """send_serialized and recv_serialized see lists of parts."""
    a, b = pair
    b.send_serialized({"k": "v"}, lambda d: [x.encode() for kv in d.items() for x in kv])
    assert a.recv_serialized(lambda parts: [p.decode() for p in parts]) == ["k", "v"]
    b.send_serialized([BIG], list, copy=False)
    assert a.recv_serialized(lambda parts: bytes(memoryview(parts[0])), copy=False) == BIG


# --- addresses ------------------------------------------------------------------------------------


def test_bind_and_connect_are_contexts(zmq, make):
    """Undone at the end, by the resolved address."""
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    with a.bind("tcp://127.0.0.1:*") as bound:
        assert bound is a
        address = a.LAST_ENDPOINT.decode()
        with b.connect(address) as connected:
            assert connected is b
            b.send(b"x")
            assert a.recv() == b"x"
        assert errno_of(zmq.ZMQError, b.disconnect, address) == errno.ENOENT
    assert errno_of(zmq.ZMQError, a.unbind, address) == errno.ENOENT
    assert repr(a.bind("inproc://shown")) == "<SocketContext(bind='inproc://shown')>"
    assert repr(b.connect("inproc://shown")) == "<SocketContext(connect='inproc://shown')>"


def test_a_bind_context_of_a_closed_socket_ends_quietly(zmq, make):
    s = make(zmq.PAIR)
    with s.bind("tcp://127.0.0.1:*"):
        s.close()


@pytest.mark.parametrize("call", ["bind", "connect", "unbind", "disconnect"])
def test_an_address_is_text_or_bytes(zmq, make, call):
    s = make(zmq.PAIR)
    with pytest.raises(TypeError):
        getattr(s, call)(5)
    address = fresh_inproc()
    {"bind": s.bind, "unbind": s.bind}.get(call, s.connect)(address.encode())
    if call in ("unbind", "disconnect"):
        getattr(s, call)(address.encode())


def test_an_error_names_the_address(zmq, make):
    s = make(zmq.PAIR)
    for call in (s.bind, s.connect):
        with pytest.raises(zmq.ZMQError) as caught:
            call("ftl://a")
        assert caught.value.errno == errno.EPROTONOSUPPORT
        assert "(addr='ftl://a')" in caught.value.strerror


def test_bind_to_a_random_port(zmq, make):
    """The system's choice, or tries within a range."""
    s = make(zmq.PAIR)
    port = s.bind_to_random_port("tcp://127.0.0.1")
    assert s.LAST_ENDPOINT == b"tcp://127.0.0.1:%d" % port
    low = free_port()
    other = make(zmq.PAIR)
    assert other.bind_to_random_port("tcp://127.0.0.1", min_port=low, max_port=low + 1) == low
    third = make(zmq.PAIR)
    with pytest.raises(zmq.ZMQBindError):
        third.bind_to_random_port("tcp://127.0.0.1", min_port=low, max_port=low + 1, max_tries=3)
    with pytest.raises(zmq.ZMQError) as caught:
        third.bind_to_random_port("tcp:*")
    assert caught.value.errno == errno.EINVAL
