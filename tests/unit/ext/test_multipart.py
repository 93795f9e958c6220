"""Messages of several parts, and recv_into."""

from __future__ import annotations

from array import array
from collections import deque

import pytest
from support.extension import (
    BIG,
    DONTWAIT,
    EAGAIN,
    FINISHED,
    SNDMORE,
    Again,
    Tracker,
    raises_errno,
)

# --- multipart -------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 100])
def test_a_multipart_message_arrives_in_order(s, count, copied):
    parts = [b"%d" % i * (i + 1) for i in range(count)]
    s.send_multipart(parts, copy=copied)
    s.send(b"after")
    assert s.recv_multipart() == parts
    s.send_multipart(tuple(parts), copy=copied)
    assert s.recv() == b"after"
    assert [f.bytes for f in s.recv_multipart(copy=False)] == parts


def test_send_multipart_answers_what_the_last_part_would(bound, s):
    big = bytes(BIG)
    assert s.send_multipart([b"a", b"b"]) is None
    assert s.send_multipart([b"a", b"b"], copy=False, track=True) is FINISHED
    assert isinstance(s.send_multipart([b"a", big], copy=False, track=True), Tracker)
    assert s.send_multipart([b"a", big], copy=False) is None
    assert s.send_multipart([b"a", bound.Frame(b"b")], copy=False) is None
    # Of all parts whose memory the engine has.
    first = s.send_multipart([big, b"b"], copy=False, track=True)
    assert isinstance(first, Tracker) and first is not FINISHED
    both = s.send_multipart([big, b"a", big], copy=False, track=True)
    assert [type(tracker) for tracker in both.events] == [Tracker, Tracker]
    assert s.send_multipart(msg_parts=[b"a"], foo=1, routing_id=3, group="x") is None


@pytest.mark.parametrize(
    ("parts", "error", "text"),
    [
        ([], IndexError, None),
        ((), IndexError, None),
        (iter([b"a"]), TypeError, None),
        ({b"a"}, TypeError, None),
        (deque([b"a"]), TypeError, None),
        (None, TypeError, None),
        (5, TypeError, None),
        ("ab", TypeError, r"Frame 0 \('a'\) does not support the buffer interface\."),
        (b"ab", TypeError, r"Frame 0 \(97\) does not support"),
        ([b"a", "b"], TypeError, r"Frame 1 \('b'\) does not support"),
        ([b"a", 1], TypeError, r"Frame 1 \(1\) does not support"),
        ([b"a", None], TypeError, r"Frame 1 \(None\)"),
        ([b"a", ["x" * 40]], TypeError, r"Frame 1 \(\['x{30}\.\.\.\) does not support"),
        ([b"a", memoryview(b"abcd")[::2]], BufferError, None),
        ([memoryview(b"abcd")[::2], b"a"], BufferError, None),
    ],
)
@pytest.mark.parametrize("copied", [True, False])
def test_a_bad_message_sends_nothing(s, fake, parts, error, text, copied):
    with pytest.raises(error, match=text):
        s.send_multipart(parts, copy=copied)
    assert fake.count(s.h, "q") == 0


def test_an_untracked_frame_in_a_tracked_message_sends_nothing(bound, s, fake):
    with pytest.raises(ValueError, match="Not a tracked message"):
        s.send_multipart([bytes(BIG), bound.Frame(b"x")], copy=False, track=True)
    assert fake.count(s.h, "q") == 0
    assert bound.hooks.refs == {}


def test_a_sequence_of_another_kind_is_sliced(s):
    class Parts:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return [b"a", b"b"][i]

    s.send_multipart(Parts())
    assert s.recv_multipart() == [b"a", b"b"]


def test_a_full_queue_refuses_the_whole_message(s, fake):
    fake.set(s.h, "h", 0)
    with raises_errno(EAGAIN, Again):
        s.send_multipart([b"a", b"b", b"c" * BIG], DONTWAIT, copy=False)
    assert fake.count(s.h, "q") == 0


def test_the_last_part_takes_the_flags_as_they_are(s):
    s.send_multipart([b"a", b"b"], flags=SNDMORE)
    s.send(b"c")
    assert s.recv_multipart() == [b"a", b"b", b"c"]


def test_an_overridden_send_gets_every_part_as_from_pyzmq(bound, make):
    calls = []

    class Own(bound.Socket):
        def send(self, *args, **kwargs):
            calls.append((args, kwargs))
            return super().send(*args, **kwargs)

    o = make(Own)
    assert o.send_multipart([b"a", b"b"], 0, False, routing_id=3) is FINISHED
    options = {"copy": False, "track": False}
    assert calls == [((b"a", SNDMORE), options), ((b"b", 0), options)]
    assert bound.Socket.recv_multipart(o) == [b"a", b"b"]
    with pytest.raises(TypeError, match="Frame 1"):
        o.send_multipart([b"a", "b"])
    assert len(calls) == 2


def test_an_overridden_recv_gives_every_part(bound, make):
    calls = []

    class Own(bound.Socket):
        def recv(self, *args, **kwargs):
            calls.append((args, kwargs))
            part = super().recv(*args, **{**kwargs, "copy": False})
            self.more = part.more
            return part.bytes.upper()

        def getsockopt(self, option):
            assert option == 13
            return self.more

    o = make(Own)
    o.send_multipart([b"a", b"b"])
    assert o.recv_multipart() == [b"A", b"B"]
    assert calls == [((0,), {"copy": True, "track": False})] * 2


def test_a_method_patched_into_the_class_counts_as_overridden(bound, make, monkeypatch):
    o = make()
    sent = []
    monkeypatch.setattr(bound.Socket, "send", lambda self, *a, **k: sent.append(a), raising=False)
    o.send_multipart([b"a"])
    assert sent == [(b"a", 0)]


# --- recv_into -------------------------------------------------------------------------------


def test_recv_into_fills_cuts_and_tells_the_whole_size(s):
    def into(buffer, **options):
        s.send(b"abcdefgh")
        size = s.recv_into(buffer, **options)
        return size, bytes(memoryview(buffer).cast("B")) if buffer else b""

    assert into(bytearray(3)) == (8, b"abc")
    assert into(bytearray(0)) == (8, b"")
    assert into(bytearray(9)) == (8, b"abcdefgh\0")
    assert into(bytearray(4), nbytes=2) == (8, b"ab\0\0")
    assert into(bytearray(4), nbytes=2.0, flags=0) == (8, b"ab\0\0")
    assert into(array("i", [0, 0]), nbytes=3) == (8, b"abc\0\0\0\0\0")
    square = memoryview(bytearray(4)).cast("B", (2, 2))
    s.send(b"abcdefgh")
    assert s.recv_into(square) == 8
    assert square.tobytes() == b"abcd"
    large = bytearray(300_000)
    s.send(bytes(range(250)) * 1200)
    assert s.recv_into(large) == 300_000
    assert large == bytes(range(250)) * 1200


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        ((b"abc",), {}, BufferError),
        (("abc",), {}, TypeError),
        ((4,), {}, TypeError),
        ((), {}, TypeError),
        ((), {"buffer": bytearray(3)}, TypeError),
        ((bytearray(3), 1), {}, TypeError),
        ((bytearray(3),), {"foo": 1}, TypeError),
        ((bytearray(3),), {"nbytes": -1}, ValueError),
        ((bytearray(3),), {"nbytes": 4}, ValueError),
        ((bytearray(3),), {"nbytes": 1 << 80}, OverflowError),
        ((bytearray(3),), {"nbytes": "1"}, TypeError),
        ((bytearray(3),), {"nbytes": None}, TypeError),
        ((memoryview(bytearray(8))[::2],), {}, BufferError),
        ((array("i", [0, 0]),), {"nbytes": 9}, ValueError),
    ],
)
def test_recv_into_refuses_what_it_cannot_fill_and_takes_nothing(s, args, options, error):
    s.send(b"kept")
    with pytest.raises(error):
        s.recv_into(*args, **options)
    assert s.recv() == b"kept"
