"""MessageTracker over events, trackers and frames."""

from __future__ import annotations

import threading

import pytest
from support import Background


def test_a_tracker_of_nothing_is_done(zmq):
    assert zmq.MessageTracker().done
    assert zmq._FINISHED_TRACKER.done
    zmq._FINISHED_TRACKER.wait(0)


def test_it_is_done_when_every_event_is_set(zmq):
    events = [threading.Event(), threading.Event()]
    tracker = zmq.MessageTracker(*events)
    assert tracker.events == set(events)
    events[0].set()
    assert not tracker.done
    with pytest.raises(zmq.NotDone):
        tracker.wait(0)
    events[1].set()
    assert tracker.done
    tracker.wait(30)
    tracker.wait()


def test_it_is_done_when_every_peer_is(zmq):
    event = threading.Event()
    peer = zmq.MessageTracker(event)
    tracker = zmq.MessageTracker(peer, zmq.MessageTracker())
    assert peer in tracker.peers
    with pytest.raises(zmq.NotDone):
        tracker.wait(timeout=0.001)
    event.set()
    tracker.wait(timeout=0.001)
    assert tracker.done


def test_waiting_ends_when_another_thread_sets_the_event(zmq):
    event = threading.Event()
    tracker = zmq.MessageTracker(event)
    thread = threading.Thread(target=event.set)
    thread.start()
    tracker.wait(timeout=30)
    thread.join()


def test_waiting_ends_when_a_program_sets_the_event_of_a_message(zmq):
    frame = zmq.Frame(bytes(100_000), copy=False, track=True)
    waiting = Background(frame.tracker.wait).blocked()
    for event in frame.tracker.events:
        event.set()
    waiting.result()


def test_false_is_no_time_limit(zmq):
    event = threading.Event()
    waiting = Background(lambda: zmq.MessageTracker(event).wait(False)).blocked()
    event.set()
    waiting.result()


def test_a_tracked_frame_is_watched_by_its_tracker(zmq):
    frame = zmq.Frame(b"x", track=True)
    assert zmq.MessageTracker(frame).peers == {frame.tracker}


def test_a_frame_without_a_tracker_is_refused(zmq):
    with pytest.raises(ValueError, match="Not a tracked message"):
        zmq.MessageTracker(zmq.Frame(b"x"))


def test_anything_else_is_refused(zmq):
    with pytest.raises(TypeError, match="Require Events or Message Frames, not <class 'int'>"):
        zmq.MessageTracker(5)


def test_a_zero_copy_message_is_done_once_it_is_received_and_dropped(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    a.bind("inproc://tracked")
    b.connect("inproc://tracked")
    body = bytes(100_000)
    tracker = a.send(body, copy=False, track=True)
    assert b.recv() == body
    tracker.wait(timeout=30)
    assert tracker.done
