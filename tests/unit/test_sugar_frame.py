"""Frame's sugar: repr, items, attributes. The buffer itself is the extension's."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "b''"),
        (16, f"b'{'x' * 16}'"),
        (17, "b'xxxxxxxxxxxx'...17B"),
        (999, "b'xxxxxxxxxxxx'...999B"),
        (1000, "b'xxxxxxxxxxxx'...1kB"),
        (99_999, "b'xxxxxxxxxxxx'...99kB"),
        (1_000_000, "b'xxxxxxxxxxxx'...1000kB"),
        (1 << 20, "b'xxxxxxxxxxxx'...1MB"),
        (2_000_000, "b'xxxxxxxxxxxx'...2MB"),
    ],
)
def test_the_repr_shows_the_start_and_the_size(zmq, size, shown):
    frame = zmq.Frame(b"x" * size)
    assert repr(frame) == str(frame) == f"<zmq.Frame({shown})>"


def test_a_subclass_shows_its_own_name(zmq):
    class Mine(zmq.Frame):
        pass

    assert repr(Mine(b"x")) == f"<{__name__}.Mine(b'x')>"


def test_message_is_the_same_class(zmq):
    assert zmq.Message is zmq.Frame


def test_items_are_properties_of_the_message(zmq):
    frame = zmq.Frame(b"x")
    assert frame[zmq.MORE] == frame.get(zmq.MORE) == 0
    for key in ("Socket-Type", b"x", 99):
        with pytest.raises(zmq.ZMQError) as raised:
            frame[key]
        assert raised.value.errno == zmq.EINVAL
    for key in (5.0, None):
        with pytest.raises(TypeError):
            frame[key]


def test_the_connection_is_known_by_its_properties(zmq, make):
    a, b = make(zmq.PAIR), make(zmq.PAIR)
    port = a.bind_to_random_port("tcp://127.0.0.1")
    b.connect(f"tcp://127.0.0.1:{port}")
    b.send_multipart([b"1", b"2"])
    first, second = a.recv_multipart(copy=False)
    assert (first.more, second.more) == (True, False)
    assert (first.bytes, second.bytes) == (b"1", b"2")
    assert first["Socket-Type"] == "PAIR"
    assert first["Peer-Address"] == "127.0.0.1"
    with pytest.raises(zmq.ZMQError):
        first["User-Id"]
    assert type(first) is zmq.Frame


def test_attributes_are_options(zmq):
    frame = zmq.Frame(b"x")
    assert frame.shared == 0
    frame.more = True
    assert frame.more is True
    with pytest.raises(AttributeError, match="Frame has no such option: NOPE"):
        frame.nope = 1
    with pytest.raises(AttributeError, match="Frame has no such option: NOPE"):
        frame.nope  # noqa: B018
    with pytest.raises(AttributeError, match="write-only"):
        frame.srcfd  # noqa: B018


def test_draft_attributes_say_that_they_are_drafts(zmq):
    frame = zmq.Frame(b"x")
    for name in ("group", "routing_id"):
        with pytest.raises(RuntimeError):
            getattr(frame, name)


def test_frames_are_equal_only_to_themselves(zmq):
    a, b = zmq.Frame(b"x"), zmq.Frame(b"x")
    assert a != b and a == a
    assert len({a, b}) == 2
