"""`Socket.stats()` says what was lost, and why nobody came (ours only)."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import (
    RawListener,
    RawPeer,
    bind,
    connected,
    dead_endpoint,
    eventually,
    fresh_inproc,
    port_of,
)
from support.security import CLIENT, SERVER, handler, make_client, make_server, reply

MECHANISMS = ("PLAIN", "CURVE")


@pytest.fixture(autouse=True)
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq has none of it")


def some(s, *names: str) -> list:
    stats = s.stats()
    return [stats[name] for name in names]


def lost(s) -> list[int]:
    return some(s, "messages_sent", "messages_dropped", "out_queued")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_messages_to_a_server_that_refuses_are_dropped_and_not_sent(zmq, ctx, make, mechanism):
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    make_server(pull, mechanism, SERVER)
    make_client(push, mechanism, CLIENT, SERVER[0])
    pull.zap_domain = b"a domain"
    with handler(zmq, ctx, lambda request: reply(b"400")):
        address = bind(pull)
        push.connect(address)
        for _ in range(5):
            push.send(b"x")
        eventually(lambda: lost(push) == [0, 5, 0])
    assert some(push, "connects_failed", "last_connect_error", "peers") == [0, "", 0]
    assert some(push, "handshakes_failed", "last_handshake_error") == [
        1,
        "HANDSHAKE_FAILED_AUTH: 400",
    ]
    # And whom the server turned away, it knows as well.
    assert some(pull, "handshakes_failed", "last_handshake_error", "messages_received") == [
        1,
        "HANDSHAKE_FAILED_AUTH: 400",
        0,
    ]


def test_a_wrong_server_key_is_told_by_its_number(zmq, make):
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    make_server(pull, "CURVE", SERVER)
    make_client(push, "CURVE", CLIENT, CLIENT[0])
    address = bind(pull)
    push.connect(address)
    push.send(b"x")
    eventually(lambda: pull.stats()["handshakes_failed"])
    assert pull.stats()["last_handshake_error"].startswith("HANDSHAKE_FAILED_PROTOCOL: 0x1")


def test_a_refused_connect_is_counted_again_and_again(zmq, make):
    push = make(zmq.PUSH, reconnect_ivl=1)
    with dead_endpoint() as endpoint:
        push.connect(endpoint)
        push.send(b"x")
        eventually(lambda: push.stats()["connects_failed"] >= 3)
    assert push.stats()["last_connect_error"] == "Connection refused"
    # It may still be sent.
    assert lost(push) == [1, 0, 1]
    assert some(push, "handshakes_failed", "last_handshake_error") == [0, ""]


def test_an_ipc_path_that_is_not_there_and_an_unknown_host_are_told_apart(zmq, make, tmp_path):
    for endpoint in (f"ipc://{tmp_path}/nobody", "tcp://no-such-host.invalid:1"):
        push = make(zmq.PUSH)
        push.connect(endpoint)
        eventually(lambda push=push: push.stats()["connects_failed"])
        assert push.stats()["last_connect_error"]


def test_who_hangs_up_before_the_end_of_the_handshake_is_counted(zmq, make):
    push = make(zmq.PUSH, reconnect_ivl=-1)
    with RawListener() as server:
        push.connect(server.endpoint)
        server.accept().close()
        eventually(lambda: push.stats()["handshakes_failed"] == 1)
    assert push.stats()["last_handshake_error"].startswith("HANDSHAKE_FAILED_NO_DETAIL: ")
    assert push.stats()["connects_failed"] == 0


def test_what_breaks_after_the_handshake_is_no_handshake_that_failed(zmq, make):
    pull = make(zmq.PULL)
    bind(pull)
    peer = RawPeer.connect(port_of(pull))
    peer.handshake("PUSH")
    peer.send(b"\xff" * 20)
    eventually(lambda: not pull.stats()["connections"])
    assert some(pull, "handshakes_failed", "last_handshake_error") == [0, ""]
    peer.close()


@pytest.mark.parametrize("transport", ["tcp", "inproc"])
def test_what_a_conflated_queue_replaces_is_dropped(zmq, make, transport):
    push = make(zmq.PUSH, conflate=1)
    with dead_endpoint() as endpoint:
        if transport == "inproc":
            endpoint = fresh_inproc()
            pull = make(zmq.PULL)
            pull.bind(endpoint)
        push.connect(endpoint)
        for _ in range(5):
            push.send(b"x")
        assert lost(push) == [1, 4, 1]


def test_what_is_queued_for_an_endpoint_that_is_disconnected_is_dropped(zmq, make):
    push = make(zmq.PUSH)
    with dead_endpoint() as endpoint:
        push.connect(endpoint)
        for _ in range(3):
            push.send(b"x")
        assert lost(push) == [3, 0, 3]
        push.disconnect(endpoint)
        eventually(lambda: lost(push) == [0, 3, 0])


def test_a_message_that_was_sent_in_part_is_dropped_with_its_connection(zmq, make):
    push = make(zmq.PUSH)
    bind(push)
    peer = RawPeer.connect(port_of(push))
    peer.handshake("PULL")
    connected(push)
    push.send(b"x")
    push.send(bytes(50_000_000))  # more than the kernel's buffers
    peer.recv_exactly(1000)
    peer.close()
    eventually(lambda: lost(push) == [1, 1, 0])


@pytest.mark.parametrize("kind", ["PUSH", "ROUTER"])
def test_a_message_whose_peer_goes_between_its_parts_is_dropped(zmq, make, kind):
    s = make(getattr(zmq, kind))
    bind(s)
    peer = RawPeer.connect(port_of(s))
    peer.handshake("PULL" if kind == "PUSH" else "DEALER", b"me")
    if kind == "PUSH":
        connected(s)
    else:
        s.router_mandatory = True

        def known() -> bool:
            try:
                s.send_multipart([b"me", b"hello"])
            except zmq.ZMQError:
                return False
            return True

        eventually(known)
        s.send(b"me", zmq.SNDMORE)
    before = s.stats()["messages_sent"]
    s.send(b"part", zmq.SNDMORE)
    peer.close()
    eventually(lambda: not s.stats()["connections"])
    s.send(b"last part")
    assert some(s, "messages_sent", "messages_dropped") == [before, 1]


def test_every_key_is_defined_in_the_docstring_and_in_the_reference(zmq, make):
    stats = make(zmq.PULL).stats()
    defined = zmq.Socket.stats.__doc__
    assert [name for name in stats if f"``{name}``\n" not in defined] == []
    page = Path(__file__).parents[2] / "docs" / "reference" / "stats.md"
    assert [name for name in stats if f"`{name}`" not in page.read_text()] == []
    texts = {name for name, value in stats.items() if isinstance(value, str)}
    assert texts == {"last_connect_error", "last_handshake_error"}
    assert all(type(stats[name]) is int for name in stats if name not in texts)
