"""Frames and trackers."""

from __future__ import annotations

import array
import copy
import gc
import sys
import threading

import pytest
from support import TIMEOUT, bind_over, eventually

BIG = b"x" * 70_000


@pytest.fixture
def pair(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    b.connect(bind_over(a, "tcp", ""))
    return a, b


def test_a_frame_holds_bytes(zmq):
    for data in (b"", b"x", bytearray(b"abc"), memoryview(b"abc"), array.array("i", [1, 2])):
        frame = zmq.Frame(data)
        raw = memoryview(data).tobytes()
        assert frame.bytes == raw
        assert len(frame) == len(raw)
        assert bytes(memoryview(frame)) == raw
        assert bytes(frame.buffer) == raw
        assert frame.more is False or frame.more == 0
    assert zmq.Frame().bytes == zmq.Frame(None).bytes == b""
    assert zmq.Message is zmq.Frame


@pytest.mark.parametrize("bad", ["text", 5, 1.5, [b"x"]])
def test_what_is_no_buffer_is_no_frame(zmq, bad):
    with pytest.raises(TypeError):
        zmq.Frame(bad)


def test_a_view_with_gaps_is_no_frame(zmq):
    with pytest.raises((BufferError, TypeError)):
        zmq.Frame(memoryview(b"abcdef")[::2])


@pytest.mark.parametrize("size", [1, 100, 70_000])
@pytest.mark.parametrize("as_copy", [True, False, None])
def test_the_buffer_of_a_frame_is_one_row_of_writable_bytes(zmq, size, as_copy):
    """Format B, item size 1."""
    frame = zmq.Frame(bytearray(b"x" * size), copy=as_copy)
    view = memoryview(frame)
    assert (view.format, view.itemsize, view.ndim, view.shape) == ("B", 1, 1, (size,))
    assert view.c_contiguous and not view.readonly
    view[0] = 0x79
    assert bytes(frame.buffer)[:1] == b"y"


def test_the_buffer_attribute_is_one_object_while_it_lives(zmq):
    frame = zmq.Frame(b"x" * 10)
    buffer = frame.buffer
    assert frame.buffer is buffer
    assert type(buffer) is memoryview


def test_bytes_of_a_frame_are_made_once(zmq):
    """And are not the object that went in."""
    for data in (b"x" * 100, BIG):
        frame = zmq.Frame(data)
        first = frame.bytes
        assert first == data
        assert first is not data
        assert frame.bytes is first


@pytest.mark.parametrize("size", [1, 33, 34, 10_000, 1_000_000])
def test_a_view_keeps_a_received_frame_alive(pair, size):
    """The memory stays as long as anything refers to it."""
    a, b = pair
    views = []
    for i in range(10):
        b.send(bytes([i]) * size)
        views.append(memoryview(a.recv(copy=False)))
    gc.collect()
    for i, view in enumerate(views):
        assert view.tobytes() == bytes([i]) * size


def test_a_frame_may_be_sent_many_times(zmq, pair):
    """parity.md, row 79: its content stays."""
    a, b = pair
    for data in (b"small", BIG):
        frame = zmq.Frame(data)
        for _ in range(4):
            b.send(frame)
            b.send(frame, copy=False)
        assert frame.bytes == data
        assert [a.recv() for _ in range(8)] == [data] * 8


def test_a_received_frame_can_be_sent_on(pair):
    """A forwarder need not look inside."""
    a, b = pair
    for size in (0, 10, 10_000, 1_000_000):
        b.send(b"y" * size)
        a.send(a.recv(copy=False), copy=False)
        assert b.recv() == b"y" * size


def test_a_frame_without_copy_refers_to_its_data_until_it_is_freed(zmq):
    """Two more references, given back with the frame."""
    data = b"z" * 100_000 + bytes(1)
    before = sys.getrefcount(data)
    frame = zmq.Frame(data, copy=False)
    assert sys.getrefcount(data) == before + 2
    del frame
    gc.collect()
    eventually(lambda: sys.getrefcount(data) == before)


def test_data_sent_without_copy_is_given_back(zmq, pair):
    """S-112: once it has been sent and received."""
    a, b = pair
    data = b"z" * 1_000_000
    before = sys.getrefcount(data)
    for _ in range(5):
        b.send(data, copy=False)
        assert a.recv() == data
    gc.collect()
    eventually(lambda: (b.events, sys.getrefcount(data) == before)[1])


def test_frames_are_equal_only_to_themselves(zmq):
    """Identity, hashable."""
    one, two = zmq.Frame(b"x"), zmq.Frame(b"x")
    assert one != two and one == one
    assert len({one, two, one}) == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "<zmq.Frame(b'')>"),
        (b"abc", "<zmq.Frame(b'abc')>"),
        (b"a" * 12, "<zmq.Frame(b'aaaaaaaaaaaa')>"),
    ],
)
def test_the_repr_of_a_short_frame_shows_it(zmq, data, text):
    assert repr(zmq.Frame(data)) == str(zmq.Frame(data)) == text


@pytest.mark.parametrize("size", [13, 16, 17, 99, 512, 999, 1000, 1024, 10_000, 70_000, 10_000_000])
def test_the_repr_of_a_long_frame_shows_its_size(zmq, pyzmq, size):
    """parity.md, row 77: as pyzmq words it."""
    assert repr(zmq.Frame(b"x" * size)) == repr(pyzmq.Frame(b"x" * size))
    assert repr(zmq.Frame(b"x" * size)).startswith("<zmq.Frame(b'xxxxxxxxxxxx")


def test_a_copy_of_a_frame_has_the_same_bytes(zmq):
    frame = zmq.Frame(BIG)
    twin = copy.copy(frame)
    assert twin.bytes == BIG
    del frame
    gc.collect()
    assert bytes(memoryview(twin)) == BIG


def test_frames_know_of_more(pair):
    a, b = pair
    b.send_multipart([b"1", BIG, b"3"])
    assert [f.more for f in a.recv_multipart(copy=False)] == [True, True, False]


@pytest.mark.parametrize("threshold", [0, 1, 10, 11, 100])
def test_the_threshold_decides_between_copy_and_reference(zmq, threshold):
    """copy=None copies what is shorter; a reference shows what is written later."""
    data = bytearray(b"0123456789")
    frame = zmq.Frame(data, copy_threshold=threshold)
    data[:1] = b"!"
    assert frame.bytes == (b"!123456789" if threshold <= 10 else b"0123456789")


def test_the_default_threshold_is_read_when_it_is_needed(zmq, monkeypatch):
    """zmq.COPY_THRESHOLD may be assigned."""
    data = bytearray(b"0123456789")
    copied = zmq.Frame(data)
    monkeypatch.setattr(zmq, "COPY_THRESHOLD", 5)
    shared = zmq.Frame(data)
    data[:1] = b"!"
    assert (copied.bytes, shared.bytes) == (b"0123456789", b"!123456789")


# --- trackers ------------------------------------------------------------------------------------


def test_a_tracker_is_done_when_the_memory_is_free(zmq, pair):
    a, b = pair
    frame = zmq.Frame(BIG, track=True)
    assert not frame.tracker.done
    with pytest.raises(zmq.NotDone):
        frame.tracker.wait(0.01)
    b.send(frame)
    assert a.recv() == BIG
    tracker = frame.tracker
    assert not tracker.done, "the frame itself is still there"
    del frame
    gc.collect()
    tracker.wait(30)
    assert tracker.done


def test_an_unsent_frame_frees_its_memory_at_once(zmq):
    frame = zmq.Frame(BIG, track=True)
    tracker = frame.tracker
    del frame
    gc.collect()
    tracker.wait(TIMEOUT)


def test_a_tracker_watches_many(zmq):
    """Events, trackers and frames."""
    event = threading.Event()
    one, two = zmq.Frame(BIG, track=True), zmq.Frame(BIG, track=True)
    tracker = zmq.MessageTracker(event, one, zmq.MessageTracker(two))
    assert not tracker.done
    event.set()
    del one
    gc.collect()
    assert not tracker.done
    with pytest.raises(zmq.NotDone):
        tracker.wait(0.01)
    del two
    gc.collect()
    tracker.wait(30)
    assert tracker.done
    assert zmq.MessageTracker().done


def test_an_untracked_frame_cannot_be_watched(zmq):
    with pytest.raises(ValueError):
        zmq.MessageTracker(zmq.Frame(BIG))
    with pytest.raises(TypeError):
        zmq.MessageTracker(b"x")


def test_received_frames_can_be_tracked(zmq, pair):
    """recv(copy=False, track=True): done when the frame is gone."""
    a, b = pair
    b.send(BIG)
    frame = a.recv(copy=False, track=True)
    assert frame.tracker is not None
    assert frame.bytes == BIG


def test_a_frame_without_a_group_says_so(zmq, on_libzmq):
    """pyzmq's wheel crashes here."""
    if on_libzmq:
        pytest.skip("the wheel crashes")
    try:
        assert zmq.Frame(b"x").get("group") == ""
    except (zmq.ZMQError, NotImplementedError):
        pass
