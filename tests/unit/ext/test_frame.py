"""Frame."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import weakref

import pytest
from support import TIMEOUT, eventually
from support.extension import (
    BIG,
    EINVAL,
    ENOTSOCK,
    FINISHED,
    MORE,
    SHARED,
    SRCFD,
    Error,
    raises_errno,
    refs_of,
)


def test_a_frame_copies_below_the_threshold_only(bound):
    hooks, frame = bound.hooks, bound.Frame
    frame(b"x" * 65535)
    assert hooks.refs == {}
    f = frame(b"x" * 65536)
    assert len(hooks.refs) == 1
    del f
    assert hooks.refs == {}
    hooks.threshold = 5
    f = frame(b"12345")
    assert len(hooks.refs) == 1
    g = frame(b"12345", copy_threshold=6)
    h = frame(b"12345", copy=True)
    assert len(hooks.refs) == 1
    i = frame(b"1", copy_threshold=1)
    j = frame(b"1", False, False)
    assert len(hooks.refs) == 3
    assert {x.bytes for x in (f, g, h)} == {b"12345"}
    assert i.bytes == j.bytes == b"1"


def test_a_zero_copy_frame_adds_two_references_and_a_copy_one(bound):
    big = bytes(BIG)
    before = refs_of(big)
    f = bound.Frame(big, copy=False)
    assert refs_of(big) == before + 2
    ((key, entry),) = bound.hooks.refs.items()
    assert key == id(entry)
    assert entry.event is None
    del entry
    g = copy.copy(f)
    assert refs_of(big) == before + 3
    assert len(bound.hooks.refs) == 1
    view = f.buffer
    assert refs_of(big) == before + 3
    del f
    assert refs_of(big) == before + 3  # the view keeps it
    del view
    assert refs_of(big) == before + 2
    del g
    assert refs_of(big) == before
    assert bound.hooks.refs == {}


def test_an_unsent_tracked_frame_is_done_the_moment_it_goes(bound):
    f = bound.Frame(b"x" * 10, copy=False, track=True)
    event, tracker = f.tracker_event, f.tracker
    assert tracker.events == (event,)
    assert not event.is_set()
    g = f.fast_copy()
    assert g.tracker is tracker
    assert g.tracker_event is event
    del f
    assert not event.is_set()
    del g
    assert event.is_set()


def test_a_frame_that_copied_is_tracked_by_what_is_done(bound):
    for f in (bound.Frame(b"x", track=True), bound.Frame(track=True)):
        assert f.tracker is FINISHED
        assert f.tracker_event is None
    f = bound.Frame(b"x")
    assert f.tracker is None
    assert f.more is False


@pytest.mark.parametrize("size", [0, 5, 8192, BIG])
@pytest.mark.parametrize("copied", [True, False])
def test_a_frame_is_a_writable_buffer_of_bytes(bound, size, copied):
    body = os.urandom(size)
    f = bound.Frame(bytearray(body), copy=copied)
    view = memoryview(f)
    assert (view.format, view.itemsize, view.ndim) == ("B", 1, 1)
    assert (view.shape, view.strides, view.readonly) == ((size,), (1,), False)
    assert view.obj is f
    assert len(f) == size
    assert bytes(f) == f.bytes == view.tobytes() == body
    assert f.buffer is f.buffer
    if size:
        view[0] = body[0] ^ 1
        assert f.bytes == body  # copied once, and kept
        assert f.buffer[0] == body[0] ^ 1


def test_bytes_is_cached_and_not_the_input(bound):
    body = b"some bytes that are no singleton"
    for copied in (True, False):
        f = bound.Frame(body, copy=copied)
        assert f.bytes == body
        assert f.bytes is not body
        assert f.bytes is f.bytes


def test_a_view_keeps_the_memory(bound, s):
    view = bound.Frame(b"kept").buffer
    s.send(b"received" * 2000)
    received = s.recv(copy=False).buffer
    gc.collect()
    assert view == b"kept"
    assert received == b"received" * 2000


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        (("text",), {}, TypeError),
        ((5,), {}, TypeError),
        (([1],), {}, TypeError),
        ((memoryview(b"abcd")[::2],), {}, BufferError),
        ((b"x",), {"copy_threshold": "x"}, TypeError),
        ((b"x", False, None, None, 5), {}, TypeError),
    ],
)
def test_a_frame_refuses_what_is_no_buffer(bound, args, options, error):
    with pytest.raises(error):
        bound.Frame(*args, **options)


def test_subclasses_may_have_constructors_of_their_own(bound):
    class Own(bound.Frame):
        def __init__(self, *args, colour=None):
            self.colour = colour

    f = Own(b"abc", colour="red")
    assert (f.bytes, f.colour) == (b"abc", "red")
    assert type(copy.copy(f)) is Own
    assert bound.Frame(bound.Frame(b"abc")).bytes == b"abc"


def test_attributes_of_a_frame_have_their_types(bound):
    f = bound.FrameBase(b"x")
    f.more = "yes"
    assert f.more is True
    f.tracker = f.tracker_event = 3
    assert (f.tracker, f.tracker_event) == (3, 3)
    for name in ("bytes", "buffer", "foo"):
        with pytest.raises(AttributeError):
            setattr(f, name, 1)
    with pytest.raises(AttributeError):
        del f.more
    for name in ("group", "routing_id"):
        with pytest.raises(RuntimeError):
            getattr(f, name)
        with pytest.raises(RuntimeError):
            setattr(f, name, 1)
    with pytest.raises(TypeError):
        copy.deepcopy(f)
    with pytest.raises(TypeError):
        pickle.dumps(f)
    assert f != bound.FrameBase(b"x")
    assert hash(f) == hash(f)


def test_options_of_a_frame(bound):
    f = bound.Frame(b"x")
    assert f.get(MORE) == 0
    assert f.get(SHARED) == 0
    assert f.get("routing_id") == 0
    assert f.get("group") == ""
    for missing in (SRCFD, 99, -1, 1 << 70, "MORE", "Socket-Type", b"x", "zz", "a\0b"):
        with raises_errno(EINVAL):
            f.get(missing)
    for bad in (1.0, None):
        with pytest.raises(TypeError):
            f.get(bad)
    assert f.set("group", "x") is None
    assert f.set("group", b"x") is None
    assert f.set("routing_id", 1) is None
    for option in (MORE, 99, "zz"):
        with raises_errno(EINVAL):
            f.set(option, 1)
        with pytest.raises(TypeError):
            f.set(option, "x")
    with pytest.raises(TypeError):
        f.set("group", 1)
    with pytest.raises(OverflowError):
        f.set("routing_id", -1)
    with pytest.raises(TypeError):
        f.set("group")


def test_a_received_frame_has_more_and_its_connections_properties(bound, s, fake):
    fake.set(s.h, "m", 1)
    s.send_multipart([b"a", b"b"])
    f, g = s.recv_multipart(copy=False, track=True)
    assert type(f) is bound.Frame
    assert (f.more, g.more) == (True, False)
    assert (f.get(MORE), g.get(MORE)) == (1, 0)
    assert f.tracker is FINISHED
    assert f.get("Socket-Type") == f.get(b"Socket-Type") == "PUSH"
    assert copy.copy(f).get("Socket-Type") == "PUSH"
    assert f.get(SRCFD) == 12
    assert f.get("Odd") == "\udcff"
    with raises_errno(EINVAL):
        f.get("User-Id")
    assert fake.metadata_refs() == 2


def test_a_large_frame_is_sent_on_without_a_copy_and_a_small_one_with(bound, s, fake):
    for body, blocks in ((b"x" * 8192, 1), (b"x" * 8191, 0)):
        f = bound.Frame(body)
        was = fake.count(s.h, "b")
        for _ in range(4):
            s.send(f)
        assert fake.count(s.h, "b") == was + 4 * blocks
        assert f.get(SHARED) == blocks
        assert [s.recv() for _ in range(4)] == [body] * 4
        assert f.get(SHARED) == 0
    s.send(b"y" * 9000)
    f = s.recv(copy=False)
    s.send(f)
    del f
    assert s.recv(copy=False).bytes == b"y" * 9000


def test_a_small_zero_copy_frame_is_not_copied_either(bound, s, fake):
    f = bound.Frame(b"again", copy=False, track=True)
    tracker = f.tracker
    s.send(f)
    s.send(f)
    del f
    assert not tracker.done
    s.recv()
    assert not tracker.done
    s.recv()
    s.send(b"")
    assert tracker.done


def test_cycles_through_frames_are_collected(bound):
    class Own(bound.Frame):
        pass

    f = Own(b"x")
    f.me = f
    f.tracker = f
    gone = weakref.ref(f)
    del f
    gc.collect()
    assert gone() is None


def test_a_socket_closed_by_another_thread_ends_the_wait(bound, make, fake):
    for call in (lambda o: o.recv(), lambda o: o.recv_multipart(), lambda o: o.send(b"x" * BIG)):
        o = make()
        fake.set(o.h, "h", 0)
        errors = []

        def wait(o=o, call=call, errors=errors):
            try:
                call(o)
            except Error as e:
                errors.append(e.errno)

        t = threading.Thread(target=wait)
        t.start()
        eventually(lambda o=o: fake.count(o.h, "w"))
        o._zm_attach(0)
        fake.close(o.h)
        t.join(TIMEOUT)
        assert errors == [ENOTSOCK]


def test_what_is_released_between_parts_runs_no_code_there(bound, s, fake):
    """A destructor that sends would put its message between our parts."""

    class Sender(bytearray):
        def __del__(self):
            s.send(b"from __del__")

    fake.keep_sent()
    s.send(Sender(BIG), copy=False)
    s.recv()
    fake.let_go_on_send(1)
    s.send_multipart([b"a" * BIG, b"b" * BIG, b"c"], copy=False)
    fake.let_go_on_send(0)
    messages = [s.recv_multipart(), s.recv_multipart()]
    assert list(map(len, messages)) == [3, 1]
