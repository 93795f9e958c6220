"""The end of a context: who is woken, what is refused, what lingers (S-46 to S-49)."""

from __future__ import annotations

import pytest
from support import (
    Background,
    address_for,
    bind,
    dead_endpoint,
    eventually,
    fresh_inproc,
    rebind,
    refused,
)

TRANSPORTS = ["inproc", "ipc", "tcp"]


# --- term ----------------------------------------------------------------------------------------


def test_term_waits_for_messages_that_may_not_be_dropped(zmq, own_ctx, make):
    """S-46: LINGER -1 and nobody there: term() blocks; somebody comes: it returns."""
    s = own_ctx.socket(zmq.PUSH)
    s.reconnect_ivl = 10
    with dead_endpoint() as address:
        s.connect(address)
        s.send(b"x")
        s.close()
        term = Background(own_ctx.term)
        assert term.still_runs(after=0.3)
    pull = make(zmq.PULL)
    rebind(zmq, pull, address)
    assert pull.recv() == b"x"
    term.result()


def test_term_waits_until_every_socket_is_closed(zmq, own_ctx):
    """S-47"""
    one, two = own_ctx.socket(zmq.PUSH), own_ctx.socket(zmq.PULL)
    term = Background(own_ctx.term)
    one.close()
    assert term.still_runs(after=0.1)
    two.close()
    term.result()
    assert own_ctx.closed


@pytest.mark.parametrize("transport", ["none", *TRANSPORTS])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda zmq, s: s.recv(), id="recv"),
        pytest.param(lambda zmq, s: s.recv(copy=False), id="recv frame"),
        pytest.param(lambda zmq, s: s.recv_into(bytearray(9)), id="recv_into"),
        pytest.param(lambda zmq, s: s.poll(), id="poll"),
        pytest.param(lambda zmq, s: s.poll(30_000), id="poll with timeout"),
        pytest.param(lambda zmq, s: zmq.select([s], [], [], None), id="select"),
    ],
)
def test_term_wakes_whoever_waits(zmq, own_ctx, call, transport, ipc_address):
    """S-47: with ETERM, connected or not."""
    s, peer = own_ctx.socket(zmq.PULL), own_ctx.socket(zmq.PUSH)
    if transport != "none":
        peer.connect(bind(s, address_for(transport, ipc_address)))
        peer.send(b"x")
        assert s.recv() == b"x"
    blocked = Background(lambda: call(zmq, s)).blocked()
    term = Background(own_ctx.term)
    with refused(zmq, zmq.ETERM):
        blocked.result()
    assert term.still_runs(after=0.02)
    s.close()
    peer.close()
    term.result()


@pytest.mark.parametrize("full", [False, True], ids=["no peer", "high-water mark"])
def test_term_wakes_a_blocked_sender(zmq, own_ctx, full):
    """S-47"""
    s = own_ctx.socket(zmq.PUSH)
    s.linger, s.sndhwm = 0, 1
    with dead_endpoint() as nowhere:
        if full:
            s.connect(nowhere)
            s.send(b"taken")
        blocked = Background(lambda: s.send(b"x")).blocked()
        term = Background(own_ctx.term)
        with refused(zmq, zmq.ETERM):
            blocked.result()
        s.close()
        term.result()


def test_term_wakes_a_proxy(zmq, own_ctx):
    """S-47: that is how proxies end."""
    front, back = own_ctx.socket(zmq.ROUTER), own_ctx.socket(zmq.DEALER)
    bind(front, fresh_inproc())
    bind(back, fresh_inproc())
    blocked = Background(lambda: zmq.proxy(front, back)).blocked()
    term = Background(own_ctx.term)
    with refused(zmq, zmq.ETERM):
        blocked.result()
    front.close()
    back.close()
    term.result()


def test_term_wakes_a_poll_over_many_sockets(zmq, own_ctx):
    """S-47"""
    sockets = [own_ctx.socket(zmq.PULL) for _ in range(5)]
    poller = zmq.Poller()
    for s in sockets:
        bind(s)
        poller.register(s, zmq.POLLIN)
    blocked = Background(poller.poll).blocked()
    term = Background(own_ctx.term)
    with refused(zmq, zmq.ETERM):
        blocked.result()
    for s in sockets:
        s.close()
    term.result()


def test_while_a_context_ends_everything_but_close_is_refused(zmq, own_ctx):
    """S-47: with ETERM; reading and setting options too."""
    s = own_ctx.socket(zmq.DEALER)
    address = bind(s)
    blocked = Background(s.recv).blocked()
    term = Background(own_ctx.term)
    with refused(zmq, zmq.ETERM):
        blocked.result()
    for call in (
        lambda: s.send(b"x"),
        lambda: s.send(b"x", zmq.DONTWAIT),
        lambda: s.recv(),
        lambda: s.recv(zmq.DONTWAIT),
        lambda: s.get(zmq.LINGER),
        lambda: s.get(zmq.EVENTS),
        lambda: s.set(zmq.LINGER, 0),
        lambda: s.bind("inproc://late"),
        lambda: s.connect("inproc://late"),
        lambda: s.unbind(address),
        lambda: s.poll(0),
    ):
        with refused(zmq, zmq.ETERM):
            call()
    with pytest.raises(zmq.ContextTerminated):
        s.recv(zmq.DONTWAIT)
    assert not s.closed
    s.close()
    assert s.closed
    term.result()


def test_what_arrived_before_the_end_cannot_be_read_after_it(zmq, own_ctx):
    """S-47"""
    s, peer = own_ctx.socket(zmq.PULL), own_ctx.socket(zmq.PUSH)
    peer.connect(bind(s, fresh_inproc()))
    peer.send(b"x")
    assert s.poll(30_000)
    term = Background(own_ctx.term)
    eventually(lambda: _errno(zmq, lambda: s.get(zmq.EVENTS)) == zmq.ETERM)
    with refused(zmq, zmq.ETERM):
        s.recv(zmq.DONTWAIT)
    s.close()
    peer.close()
    term.result()


def _errno(zmq, call) -> int:
    try:
        call()
    except zmq.ZMQError as error:
        return error.errno
    return 0


def test_a_context_that_ends_makes_no_new_sockets(zmq, own_ctx):
    """S-48: ETERM while it waits for the old ones."""
    s = own_ctx.socket(zmq.PUSH)
    term = Background(own_ctx.term)
    eventually(lambda: _errno(zmq, lambda: s.get(zmq.EVENTS)) == zmq.ETERM)
    with refused(zmq, zmq.ETERM):
        own_ctx.socket(zmq.PUSH)
    s.close()
    term.result()
    with pytest.raises(zmq.ZMQError):
        own_ctx.socket(zmq.PUSH)


def test_ending_a_context_twice_is_harmless(zmq):
    """S-48"""
    context = zmq.Context()
    Background(context.term).result()
    Background(context.term).result()
    Background(context.destroy).result()
    assert context.closed


def test_destroy_closes_sockets_that_others_wait_on(zmq, own_ctx):
    """S-48: destroy() from another thread is noticed like term(), or as a closed socket."""
    s = own_ctx.socket(zmq.PULL)
    bind(s)

    def wait():
        try:
            while True:
                s.poll(50)
        except zmq.ZMQError as error:
            return error.errno

    waiter = Background(wait).blocked()
    term = Background(own_ctx.term)
    assert waiter.result() == zmq.ETERM
    s.close()
    term.result()


# --- defaults ------------------------------------------------------------------------------------


def test_only_subscribers_do_not_linger_unless_told(zmq, ctx):
    """S-49: -1 by default, 0 for SUB and XSUB."""
    for kind in ("PAIR", "PUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "STREAM"):
        assert ctx.socket(getattr(zmq, kind)).linger == -1, kind
    assert ctx.socket(zmq.SUB).linger == ctx.socket(zmq.XSUB).linger == 0


def test_a_context_that_is_not_blocky_makes_sockets_that_do_not_linger(zmq, own_ctx):
    """S-49: BLOCKY=0, for sockets made from then on."""
    before = own_ctx.socket(zmq.PUSH)
    own_ctx.set(zmq.BLOCKY, 0)
    after = own_ctx.socket(zmq.PUSH)
    assert (before.linger, after.linger) == (-1, 0)
    with dead_endpoint() as nowhere:
        after.connect(nowhere)
        after.send(b"x")
        after.close()
        before.close()
        Background(own_ctx.term).result()


def test_destroy_drops_what_would_linger(zmq, own_ctx):
    """S-49: destroy(linger=0) sets the option on every socket first."""
    s = own_ctx.socket(zmq.PUSH)
    with dead_endpoint() as nowhere:
        s.connect(nowhere)
        s.send(b"x")
        Background(lambda: own_ctx.destroy(linger=0)).result()
    assert s.closed and own_ctx.closed
