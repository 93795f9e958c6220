"""Who gets a message, and whose message comes next: the patterns except PUB/SUB and STREAM."""

from __future__ import annotations

import errno
import struct

import pytest
from support import (
    TRANSPORTS,
    RawListener,
    bind_over,
    drain,
    errno_of,
    eventually,
    free_port,
    fresh_inproc,
    monitored,
    rebind,
    refused,
    wait_for_event,
    zmtp_connect,
)

# --- load balancing and fair queueing ------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("pair", ["PUSH PULL", "DEALER DEALER"])
def test_messages_go_to_the_peers_in_turn(zmq, make, ipc_address, transport, pair):
    """S-55: strict round robin in the order in which the peers were attached."""
    out, into = (getattr(zmq, name) for name in pair.split())
    receivers = [make(into) for _ in range(3)]
    s = make(out)
    for r in receivers:
        s.connect(bind_over(r, transport, ipc_address))
    for i in range(9):
        s.send(b"%d" % i)
    got = [[r.recv() for _ in range(3)] for r in receivers]
    assert got == [[b"0", b"3", b"6"], [b"1", b"4", b"7"], [b"2", b"5", b"8"]]


def test_the_parts_of_a_message_go_to_one_peer(zmq, make):
    """S-55: the turn passes on at the end of a message, not of a part."""
    a, b = make(zmq.PULL), make(zmq.PULL)
    s = make(zmq.PUSH)
    for r in (a, b):
        s.connect(bind_over(r, "inproc", ""))
    s.send_multipart([b"a1", b"a2", b"a3"])
    s.send_multipart([b"b1", b"b2"])
    assert a.recv_multipart() == [b"a1", b"a2", b"a3"]
    assert b.recv_multipart() == [b"b1", b"b2"]


def test_a_full_peer_is_passed_over_until_it_has_room(zmq, make):
    """S-55: a full pipe leaves the turn and comes back at its end."""
    s = make(zmq.PUSH, sndhwm=1)
    full, roomy = make(zmq.PULL, rcvhwm=1), make(zmq.PULL, rcvhwm=100)
    for r in (full, roomy):
        s.connect(bind_over(r, "inproc", ""))
    for i in range(20):
        s.send(b"%d" % i, zmq.DONTWAIT)
    mine = drain(full)
    assert mine == [b"0", b"2"]
    assert drain(roomy) == [b"%d" % i for i in range(20) if i not in (0, 2)]

    def comes_back():
        s.send(b"again", zmq.DONTWAIT)
        return full.poll(0)

    eventually(comes_back)
    assert full.recv() == b"again"


def test_req_asks_its_peers_in_turn(zmq, make):
    """S-55, S-67: also REQ is a load balancer (RFC 28)."""
    s = make(zmq.REQ)
    replies = [make(zmq.REP) for _ in range(3)]
    for r in replies:
        s.connect(bind_over(r, "inproc", ""))
    for _ in range(2):
        for i, r in enumerate(replies):
            s.send(b"q%d" % i)
            assert r.recv() == b"q%d" % i
            r.send(b"a%d" % i)
            assert s.recv() == b"a%d" % i


@pytest.mark.parametrize("pair", ["PUSH PULL", "DEALER DEALER", "DEALER ROUTER", "PUB SUB"])
def test_senders_are_heard_in_turn(zmq, make, pair):
    """S-56: one message per peer per turn."""
    out, into = (getattr(zmq, name) for name in pair.split())
    s = make(into)
    if into == zmq.SUB:
        s.subscribe(b"")
    senders = []
    for _ in range(3):
        sender = make(out)
        if into == zmq.SUB:  # a PUB that connects would drop until the subscription has come
            s.connect(bind_over(sender, "inproc", ""))
        senders.append(sender)
    if into != zmq.SUB:
        address = bind_over(s, "inproc", "")
        for sender in senders:
            sender.connect(address)
    for j, sender in enumerate(senders):
        for i in range(4):
            sender.send(b"%d%d" % (j, i))
    got = [s.recv_multipart()[-1] for _ in range(12)]
    assert got == [b"%d%d" % (j, i) for i in range(4) for j in range(3)]


def test_a_flood_does_not_starve_another_sender(zmq, make):
    """S-56: the single message of a quiet peer is read within two."""
    s = make(zmq.PULL)
    address = bind_over(s, "inproc", "")
    flood, quiet = make(zmq.PUSH), make(zmq.PUSH)
    for sender in (flood, quiet):
        sender.connect(address)
    for _ in range(500):
        flood.send(b"noise")
    quiet.send(b"word")
    assert b"word" in [s.recv(), s.recv()]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_of_one_sender_stay_in_order(zmq, make, ipc_address, transport):
    """S-57: order is kept per peer, and only there."""
    s = make(zmq.PULL)
    address = bind_over(s, transport, ipc_address)
    senders = [make(zmq.PUSH) for _ in range(2)]
    for sender in senders:
        sender.connect(address)
    for i in range(300):
        for j, sender in enumerate(senders):
            sender.send_multipart([b"%d" % j, b"%d" % i])
    seen: dict[bytes, list[int]] = {b"0": [], b"1": []}
    for _ in range(600):
        j, i = s.recv_multipart()
        seen[j].append(int(i))
    assert seen == {b"0": list(range(300)), b"1": list(range(300))}


def test_queued_messages_keep_their_order_over_a_reconnect(zmq, make):
    """S-57, S-20: what was queued while nobody answered arrives in order later."""
    s = make(zmq.PUSH, reconnect_ivl=10)
    with RawListener() as mock:
        s.connect(mock.endpoint)
        for i in range(50):
            s.send(b"%d" % i)
        mock.accept().close()  # before any handshake, so nothing was sent
    r = make(zmq.PULL)
    rebind(zmq, r, mock.endpoint)
    assert [r.recv() for _ in range(50)] == [b"%d" % i for i in range(50)]


def test_a_connection_by_name_comes_back_every_time(zmq, make):
    """S-20: the name is looked up at each attempt, and no answer gets lost."""
    s = make(zmq.PUSH, reconnect_ivl=1, reconnect_ivl_max=1)
    with RawListener() as mock:
        s.connect(f"tcp://localhost:{mock.port}")
        for _ in range(300):
            mock.accept().close()
            mock.accepted.clear()


# --- ROUTER --------------------------------------------------------------------------------------


def test_router_swallows_a_message_of_one_part(zmq, make):
    """S-58: a first part without MORE names nobody; the send succeeds and nothing is sent."""
    router, dealer = make(zmq.ROUTER), make(zmq.DEALER, routing_id=b"D")
    dealer.connect(bind_over(router, "inproc", ""))
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"D", b"hello"]
    router.send(b"D")
    router.send_multipart([b"D", b"after"])
    assert dealer.recv_multipart() == [b"after"]


def test_router_drops_a_message_to_nobody(zmq, make):
    """S-58: unknown id: all parts are dropped, and the next message starts anew."""
    router, dealer = make(zmq.ROUTER), make(zmq.DEALER, routing_id=b"D")
    dealer.connect(bind_over(router, "inproc", ""))
    dealer.send(b"hello")
    router.recv_multipart()
    router.send_multipart([b"nobody", b"1", b"2", b"3"])
    router.send_multipart([b"D", b"after"])
    assert dealer.recv_multipart() == [b"after"]


def test_mandatory_router_refuses_a_message_to_nobody(zmq, make):
    """S-59: EHOSTUNREACH on the first part; the next send is a first part again."""
    router = make(zmq.ROUTER, router_mandatory=1)
    assert router.events == 0, "no peer: not writable"
    dealer = make(zmq.DEALER, routing_id=b"D")
    dealer.connect(bind_over(router, "inproc", ""))
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"D", b"hello"]
    assert errno_of(zmq.ZMQError, router.send, b"nobody", zmq.SNDMORE) == errno.EHOSTUNREACH
    router.send_multipart([b"D", b"after"])
    assert dealer.recv() == b"after"


def test_mandatory_router_says_when_a_peer_is_full(zmq, make):
    """S-59: EAGAIN at the high-water mark, and everything accepted is delivered."""
    router = make(zmq.ROUTER, router_mandatory=1, sndhwm=5)
    dealer = make(zmq.DEALER, routing_id=b"D", rcvhwm=5)
    dealer.connect(bind_over(router, "inproc", ""))
    dealer.send(b"hello")
    router.recv_multipart()
    assert router.events & zmq.POLLOUT
    sent = 0
    with pytest.raises(zmq.Again):
        for _ in range(100):
            router.send_multipart([b"D", b"%d" % sent], zmq.DONTWAIT)
            sent += 1
    assert sent == 10
    assert not router.events & zmq.POLLOUT
    router.sndtimeo = 20
    with pytest.raises(zmq.Again):
        router.send_multipart([b"D", b"no"])
    assert [dealer.recv() for _ in range(sent)] == [b"%d" % i for i in range(sent)]
    eventually(lambda: router.events & zmq.POLLOUT)
    router.send_multipart([b"D", b"room"])
    assert dealer.recv() == b"room"


def test_plain_router_is_always_writable_and_drops_at_the_mark(zmq, make):
    """S-59: without MANDATORY a full peer loses messages, and POLLOUT stays."""
    router = make(zmq.ROUTER, sndhwm=5)
    assert router.events == zmq.POLLOUT
    dealer = make(zmq.DEALER, routing_id=b"D", rcvhwm=5)
    dealer.connect(bind_over(router, "inproc", ""))
    dealer.send(b"hello")
    router.recv_multipart()
    for i in range(100):
        router.send_multipart([b"D", b"%d" % i], zmq.DONTWAIT)
    assert router.events & zmq.POLLOUT
    assert drain(dealer) == [b"%d" % i for i in range(10)]


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_mandatory_router_notices_that_a_peer_is_gone(zmq, make, ipc_address, transport):
    """S-59: the id of a peer that left is unknown again."""
    router = make(zmq.ROUTER, router_mandatory=1)
    dealer = make(zmq.DEALER, routing_id=b"D")
    dealer.connect(bind_over(router, transport, ipc_address))
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"D", b"hello"]
    dealer.close()

    def unreachable():
        try:
            router.send_multipart([b"D", b"?"])
        except zmq.ZMQError as e:
            return e.errno == errno.EHOSTUNREACH
        return False

    eventually(unreachable)


def test_router_numbers_its_anonymous_peers(zmq, make):
    """S-60: five bytes, a zero and a big-endian counter that goes up by one."""
    router = make(zmq.ROUTER)
    address = bind_over(router, "inproc", "")
    ids = []
    for _ in range(4):
        dealer = make(zmq.DEALER)
        dealer.connect(address)
        dealer.send(b"")
        ids.append(router.recv_multipart()[0])
    assert all(len(i) == 5 and i[0] == 0 for i in ids)
    numbers = [struct.unpack(">I", i[1:])[0] for i in ids]
    assert [(n - numbers[0]) % 2**32 for n in numbers] == [0, 1, 2, 3]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_router_answers_each_of_many_peers(zmq, make, ipc_address, transport):
    """RFC 28: the id in front of a message is the way back."""
    router = make(zmq.ROUTER)
    address = bind_over(router, transport, ipc_address)
    dealers = [make(zmq.DEALER) for _ in range(10)]
    for i, dealer in enumerate(dealers):
        dealer.connect(address)
        dealer.send(b"from %d" % i)
    for _ in dealers:
        peer, text = router.recv_multipart()
        router.send_multipart([peer, b"re: " + text])
    for i, dealer in enumerate(dealers):
        assert dealer.recv() == b"re: from %d" % i


def test_a_second_peer_of_the_same_name_is_ignored(zmq, make):
    """S-61: without HANDOVER the newcomer is never read and never written to."""
    router = make(zmq.ROUTER)
    router.bind("tcp://127.0.0.1:*")
    first = make(zmq.DEALER, routing_id=b"X")
    first.connect(router.LAST_ENDPOINT)
    first.send(b"1")
    assert router.recv_multipart() == [b"X", b"1"]
    with zmtp_connect(router) as second:
        second.handshake("DEALER", b"X")
        eventually(lambda: router.events)  # libzmq looks at the newcomer in here
        second.send_message(b"intruder")
        try:
            second.round_trip()
        except (EOFError, ConnectionError):
            pass  # closing it is allowed, too
        first.send(b"2")
        assert router.recv_multipart() == [b"X", b"2"]
        router.send_multipart([b"X", b"reply"])
        assert first.recv() == b"reply"
        assert not router.poll(0)


def test_handover_gives_the_name_to_the_newcomer(zmq, make):
    """S-61: with HANDOVER replies go to the new peer only."""
    router = make(zmq.ROUTER, router_handover=1)
    router.bind("tcp://127.0.0.1:*")
    old, new = make(zmq.DEALER, routing_id=b"X"), make(zmq.DEALER, routing_id=b"X")
    old.connect(router.LAST_ENDPOINT)
    old.send(b"old")
    assert router.recv_multipart() == [b"X", b"old"]
    new.connect(router.LAST_ENDPOINT)
    new.send(b"new")
    assert router.recv_multipart() == [b"X", b"new"]
    router.send_multipart([b"X", b"reply"])
    assert new.recv() == b"reply"
    assert not old.poll(0)


def test_a_name_can_be_reused_after_its_peer_left(zmq, make):
    """RFC 28, spec_router: the queue of a peer goes with the peer."""
    router = make(zmq.ROUTER)
    router.bind("tcp://127.0.0.1:*")

    def is_free():  # a newcomer of the name would else be ignored for good
        try:
            router.send_multipart([b"X", b"to nobody, sooner or later"])
        except zmq.ZMQError as error:
            return error.errno == errno.EHOSTUNREACH
        return False

    for round_ in (b"1", b"2", b"3"):
        dealer = make(zmq.DEALER, routing_id=b"X")
        dealer.connect(router.LAST_ENDPOINT)
        dealer.send(round_)
        assert router.recv_multipart() == [b"X", round_]
        router.send_multipart([b"X", round_])
        assert dealer.recv() == round_
        dealer.close()
        router.router_mandatory = 1
        eventually(is_free)
        router.router_mandatory = 0
        router.send_multipart([b"X", b"to nobody"])


def test_connect_routing_id_names_the_next_connection(zmq, make):
    """S-62: usable before the peer is there; the peer's own name is ignored."""
    port = free_port()
    router = make(zmq.ROUTER, router_mandatory=1, reconnect_ivl=10)
    router.connect_routing_id = b"chosen"
    router.connect(f"tcp://127.0.0.1:{port}")
    router.send_multipart([b"chosen", b"early"])
    dealer = make(zmq.DEALER, routing_id=b"own")
    dealer.bind(f"tcp://127.0.0.1:{port}")
    assert dealer.recv() == b"early"
    dealer.send(b"back")
    assert router.recv_multipart() == [b"chosen", b"back"]


@pytest.mark.parametrize(
    ("address", "error"),
    [("tcp://no port", errno.EINVAL), ("tcp://localhost", errno.EINVAL), ("foo://x", None)],
)
@pytest.mark.parametrize("kind", ["ROUTER", "STREAM"])
def test_connect_routing_id_outlives_a_connect_that_fails(zmq, make, kind, address, error):
    """S-62: it names the next one that does not."""
    kind = getattr(zmq, kind)
    s, other = make(kind), make(zmq.DEALER if kind == zmq.ROUTER else zmq.STREAM)
    s.connect_routing_id = b"chosen"
    with refused(zmq, error or errno.EPROTONOSUPPORT):
        s.connect(address)
    other.bind("tcp://127.0.0.1:*")
    s.connect(other.LAST_ENDPOINT)
    if kind == zmq.ROUTER:
        s.send_multipart([b"chosen", b"x"])
        assert other.recv_multipart() == [b"x"]
    else:
        assert s.recv_multipart() == [b"chosen", b""]


def test_connect_routing_id_is_used_up_by_one_connect(zmq, make):
    """S-62: the connection after the next has an automatic id."""
    router = make(zmq.ROUTER)
    peers = [make(zmq.DEALER), make(zmq.DEALER)]
    router.connect_routing_id = b"one"
    for peer in peers:
        router.connect(bind_over(peer, "tcp", ""))
        peer.send(b"hi")
    ids = sorted((router.recv_multipart()[0] for _ in peers), key=len)
    assert ids[0] == b"one"
    assert len(ids[1]) == 5 and ids[1][0] == 0


def test_two_connections_cannot_have_the_same_chosen_name(zmq, make, on_libzmq):
    """S-62, differences.md: libzmq aborts the process here."""
    if on_libzmq:
        pytest.skip("libzmq aborts")
    router = make(zmq.ROUTER)
    peers = [make(zmq.DEALER), make(zmq.DEALER)]
    router.connect_routing_id = b"one"
    router.connect(bind_over(peers[0], "tcp", ""))
    with pytest.raises(zmq.ZMQError) as caught:
        router.connect_routing_id = b"one"
        router.connect(bind_over(peers[1], "tcp", ""))
    assert caught.value.errno == errno.EINVAL


def test_router_reaches_a_peer_that_came_late(zmq, make):
    """issue_566: a dealer that connects later is found by its own id."""
    router = make(zmq.ROUTER, router_mandatory=1)
    address = bind_over(router, "tcp", "")
    for i in range(3):
        dealer = make(zmq.DEALER, routing_id=b"late%d" % i)
        dealer.connect(address)

        def reaches(name=b"late%d" % i):
            try:
                router.send_multipart([name, b"hello"])
            except zmq.ZMQError as e:
                assert e.errno == errno.EHOSTUNREACH
                return False
            return True

        eventually(reaches)
        assert dealer.recv() == b"hello"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", ["ROUTER", "DEALER", "REQ"])
def test_a_probe_tells_a_router_that_a_peer_is_there(zmq, make, ipc_address, transport, kind):
    """S-63: PROBE_ROUTER sends one empty message to each new peer."""
    router = make(zmq.ROUTER)
    address = bind_over(router, transport, ipc_address)
    prober = make(getattr(zmq, kind), probe_router=1, routing_id=b"P")
    prober.connect(address)
    assert router.recv_multipart() == [b"P", b""]
    if kind == "DEALER":
        router.send_multipart([b"P", b"seen"])
        assert prober.recv() == b"seen"


def test_a_probe_reaches_a_dealer_as_an_empty_message(zmq, make):
    """S-63."""
    dealer = make(zmq.DEALER)
    router = make(zmq.ROUTER, probe_router=1)
    router.connect(bind_over(dealer, "tcp", ""))
    assert dealer.recv_multipart() == [b""]


# --- PAIR, and sockets without peers --------------------------------------------------------------


def test_pair_serves_its_first_peer_only(zmq, make):
    """S-70: a second peer is neither heard nor written to."""
    pair = make(zmq.PAIR)
    pair.bind("tcp://127.0.0.1:*")
    first = make(zmq.PAIR)
    first.connect(pair.LAST_ENDPOINT)
    first.send(b"1")
    assert pair.recv() == b"1"
    with zmtp_connect(pair) as second:
        second.handshake("PAIR")
        assert pair.events & zmq.POLLOUT  # libzmq looks at the newcomer in here
        second.send_message(b"intruder")
        pair.send(b"2")
        assert first.recv() == b"2"
        first.send(b"3")
        assert pair.recv() == b"3"
        assert not pair.poll(0)


def test_pair_without_its_peer_cannot_send(zmq, make):
    """S-70: once the only peer left, send waits."""
    pair = make(zmq.PAIR)
    pair.bind("tcp://127.0.0.1:*")
    peer = make(zmq.PAIR)
    peer.connect(pair.LAST_ENDPOINT)
    peer.send(b"1")
    assert pair.recv() == b"1"
    assert pair.events == zmq.POLLOUT
    peer.close()
    eventually(lambda: pair.events == 0)
    assert errno_of(zmq.Again, pair.send, b"x", zmq.DONTWAIT) == errno.EAGAIN


@pytest.mark.parametrize("kind", ["PAIR", "REQ", "DEALER", "PUSH"])
def test_without_peers_a_send_waits(zmq, make, kind):
    """S-73: EAGAIN and no POLLOUT; a connect makes room at once."""
    s = make(getattr(zmq, kind), reconnect_ivl=1000)
    assert s.events == 0
    assert errno_of(zmq.Again, s.send, b"x", zmq.DONTWAIT) == errno.EAGAIN
    s.sndtimeo = 10
    assert errno_of(zmq.Again, s.send, b"x") == errno.EAGAIN
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    assert s.events == zmq.POLLOUT
    s.send(b"queued", zmq.DONTWAIT)


@pytest.mark.parametrize("kind", ["PAIR", "REQ", "DEALER", "PUSH"])
def test_an_immediate_socket_waits_for_a_real_peer(zmq, make, kind):
    """S-73, S-18: with IMMEDIATE a connect alone is no peer."""
    s = make(getattr(zmq, kind), immediate=1)
    s.connect(f"tcp://127.0.0.1:{free_port()}")
    assert s.events == 0
    assert errno_of(zmq.Again, s.send, b"x", zmq.DONTWAIT) == errno.EAGAIN


@pytest.mark.parametrize(
    ("kind", "call"),
    [("PULL", "send"), ("SUB", "send"), ("PUSH", "recv"), ("PUB", "recv")],
)
def test_one_way_sockets_refuse_the_other_way(zmq, make, kind, call):
    """semantics.md#errors: ENOTSUP, with and without peers."""
    s = make(getattr(zmq, kind))
    args = (b"x",) if call == "send" else ()
    assert errno_of(zmq.ZMQError, getattr(s, call), *args) == errno.ENOTSUP
    s.bind(fresh_inproc())
    assert errno_of(zmq.ZMQError, getattr(s, call), *args, zmq.DONTWAIT) == errno.ENOTSUP


def test_multipart_is_delivered_whole_or_dropped_whole(zmq, make):
    """S-51, spec_pushpull: the peer dies in the middle; its successor sees no rest."""
    push = make(zmq.PUSH)
    push.bind("tcp://127.0.0.1:*")
    pull = make(zmq.PULL)
    pull.connect(push.LAST_ENDPOINT)
    m = monitored(push)
    push.send(b"first")
    assert pull.recv() == b"first"
    push.send(b"part 0", zmq.SNDMORE)
    push.send(b"part 1", zmq.SNDMORE)
    pull.close()
    wait_for_event(m, zmq.EVENT_DISCONNECTED)
    try:
        push.send(b"part 2", zmq.DONTWAIT | zmq.SNDMORE)
    except zmq.Again:
        pass  # it may be told, once
    pull = make(zmq.PULL)
    pull.connect(push.LAST_ENDPOINT)
    wait_for_event(m, zmq.EVENT_HANDSHAKE_SUCCEEDED)
    try:
        push.send(b"the end", zmq.DONTWAIT)  # of the broken message: it may be swallowed
    except zmq.Again:
        pass

    def arrives():  # the first may still go the way of the old peer
        try:
            push.send_multipart([b"whole", b"message"], zmq.DONTWAIT)
        except zmq.Again:
            return False
        return pull.poll(50)

    eventually(arrives)
    assert pull.recv_multipart() in ([b"whole", b"message"], [b"the end"])
