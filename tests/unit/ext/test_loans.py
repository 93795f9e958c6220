"""What a send returns, and whose memory it sends."""

from __future__ import annotations

import gc
import signal
import sys
import threading

import pytest
from support import TIMEOUT, Background, eventually
from support.extension import (
    BIG,
    COPIED_MAX,
    DONTWAIT,
    EAGAIN,
    FINISHED,
    Again,
    Tracker,
    raises_errno,
    refs_of,
)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="__release_buffer__ came with Python 3.12")
def test_an_exporter_is_handed_back_the_view_it_gave(bound, s):
    given_back = []

    class Exporter(bytearray):
        def __release_buffer__(self, view):
            given_back.append((view.nbytes, view.shape, view.strides))
            super().__release_buffer__(view)

    exporter = Exporter(BIG)
    for _ in range(3):
        s.send(exporter, copy=False)
        s.recv()
        bound.Frame(exporter, copy=False)
    gc.collect()
    assert given_back == [(BIG, (BIG,), (1,))] * 6


def test_send_answers_as_pyzmq_does(bound, s):
    big = bytes(BIG)
    assert s.send(b"x") is None
    assert s.send(b"x", track=True) is None
    assert s.send(b"x", copy=False) is FINISHED
    assert s.send(b"x", copy=False, track=True) is FINISHED
    assert s.send(big, copy=False) is None
    tracker = s.send(big, copy=False, track=True)
    assert isinstance(tracker, Tracker)
    assert tracker is not FINISHED
    f = bound.Frame(big, copy=False, track=True)
    assert s.send(f) is f.tracker
    assert s.send(f, copy=False, track=True) is f.tracker
    untracked = bound.Frame(b"x")
    assert s.send(untracked) is None
    assert s.send(untracked, copy=False) is None
    for options in ({}, {"copy": False}):
        with pytest.raises(ValueError, match="Not a tracked message"):
            s.send(untracked, track=True, **options)


def test_the_threshold_is_the_sockets_and_starts_as_the_modules(bound, make):
    bound.hooks.threshold = 10
    s = make()
    bound.hooks.threshold = 20
    assert s.copy_threshold == 10
    assert s.send(b"123456789", copy=False) is FINISHED
    assert s.send(b"1234567890", copy=False) is None
    s.copy_threshold = 0
    assert s.send(b"", copy=False) is None
    s.copy_threshold = 5.0
    assert s.copy_threshold == 5
    for bad in ("x", None):
        with pytest.raises(TypeError):
            s.copy_threshold = bad
    with pytest.raises(AttributeError):
        del s.copy_threshold


def test_a_zero_copy_send_shows_in_gc_refs_until_the_engine_lets_go(bound, s, fake, ext):
    big = bytes(BIG)
    before = refs_of(big)
    fake.keep_sent()
    tracker = s.send(big, copy=False, track=True)
    (key, entry), *rest = bound.hooks.refs.items()
    assert not rest
    assert entry.obj is big
    assert entry.event is tracker.events[0]
    assert key == id(entry)
    del entry
    assert refs_of(big) == before + 1
    s.recv()
    assert not tracker.done
    fake.let_go()
    eventually(lambda: tracker.done)  # a pending call of this thread
    assert bound.hooks.refs == {}
    assert refs_of(big) == before


def test_memory_the_engine_is_done_with_at_once_is_released_at_once(bound, s):
    big = bytes(BIG)
    before = refs_of(big)
    s.send(big, copy=False)
    s.recv()
    s.send(b"")  # any call into the extension
    assert bound.hooks.refs == {}
    assert refs_of(big) == before


def test_large_bytes_are_not_copied_even_with_copy_true(bound, s, fake):
    big = bytes(COPIED_MAX)
    before = refs_of(big)
    assert s.send(big) is None
    assert fake.count(s.h, "b") == 1
    assert bound.hooks.refs == {}
    assert refs_of(big) == before + 1
    assert s.recv() == big
    s.send(b"")
    assert refs_of(big) == before
    s.send(bytearray(big))  # may change: copied
    assert fake.count(s.h, "b") == 1


def test_a_failed_zero_copy_send_leaves_nothing(bound, s, fake):
    big = bytes(BIG)
    before = refs_of(big)
    fake.set(s.h, "h", 0)
    for options in ({"copy": False}, {"copy": False, "track": True}, {}):
        with raises_errno(EAGAIN, Again):
            s.send(big, DONTWAIT, **options)
        assert bound.hooks.refs == {}
        assert refs_of(big) == before


def test_a_bytearray_in_the_engines_hands_cannot_be_resized(bound, s, fake):
    data = bytearray(BIG)
    fake.keep_sent()
    s.send(data, copy=False)
    s.recv()
    with pytest.raises(BufferError):
        data.append(1)
    fake.let_go()
    s.send(b"")
    data.append(1)


def test_emptying_gc_refs_by_hand_frees_no_memory_in_use(bound, s, fake):
    fake.keep_sent()
    s.send(bytes(BIG), copy=False)
    bound.hooks.refs.clear()
    gc.collect()
    assert s.recv() == bytes(BIG)
    fake.let_go()


def test_a_waiting_thread_finishes_what_is_released_meanwhile(s, fake, ext):
    fake.keep_sent()
    tracker = s.send(bytes(BIG), copy=False, track=True)
    event = tracker.events[0]
    assert ext.wait_event(event, 0) is False
    assert ext.wait_event(event, 0.001) is False
    s.recv()
    fake.let_go_later(30)
    assert ext.wait_event(event, TIMEOUT) is True
    fake.join()
    assert ext.wait_event(event) is True


def test_several_threads_wait_for_their_own_events(s, fake, ext):
    fake.keep_sent()
    trackers = [s.send(bytes(BIG), copy=False, track=True) for _ in range(4)]
    done = []

    def wait(tracker):
        done.append(ext.wait_event(tracker.events[0], TIMEOUT))

    threads = [threading.Thread(target=wait, args=(t,)) for t in trackers]
    for t in threads:
        t.start()
    for _ in trackers:
        s.recv()
    fake.let_go_later(10)
    for t in threads:
        t.join(TIMEOUT)
    fake.join()
    assert done == [True] * 4


def test_who_waits_for_an_event_sleeps_until_somebody_wakes_it(ext):
    """All are woken, whoever set the event, and nobody looks meanwhile."""
    looks = []

    class Watched(threading.Event):
        def is_set(self):
            looks.append(self)
            return super().is_set()

    events = [Watched() for _ in range(3)]
    waiters = [Background(lambda e=e: ext.wait_event(e)).blocked() for e in events]
    events.append(Watched())
    waiters.append(Background(lambda: ext.wait_event(events[-1], 100 * TIMEOUT)).blocked())
    assert looks == events
    assert waiters[0].still_runs(after=0.1)
    assert looks == events
    for event, waiter in reversed(list(zip(events, waiters, strict=True))):
        event.set()
        ext.wake_waiters()
        assert waiter.result() is True


def test_a_wait_for_an_event_ends_by_a_signal_handlers_exception(ext):
    def handler(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            ext.wait_event(threading.Event(), TIMEOUT)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_drain_answers_how_many_and_keeps_the_exception_that_is_set(bound, s, fake, ext):
    fake.keep_sent()
    s.send(bytes(BIG), copy=False)
    s.send(bytes(BIG))
    s.recv(), s.recv()
    # Let go on this very thread's C call: no Python code runs before drain().
    fake.let_go()
    assert ext.drain() in (0, 2)  # 0: the pending call was first
    assert ext.drain() == 0

    class Watched(bytearray):
        def __del__(self):
            with pytest.raises(RuntimeError):
                raise RuntimeError

    f = bound.Frame(Watched(BIG), copy=False)
    with pytest.raises(KeyError, match="kept"):
        try:
            raise KeyError("kept")
        finally:
            del f


def test_a_release_callback_that_sends_is_no_trouble(bound, s, fake):
    class Sender(bytearray):
        def __del__(self):
            s.send(b"from __del__")

    fake.keep_sent()
    s.send(Sender(BIG), copy=False)
    s.recv()
    fake.let_go()
    s.send(b"next")
    assert sorted([s.recv(), s.recv()]) == [b"from __del__", b"next"]
