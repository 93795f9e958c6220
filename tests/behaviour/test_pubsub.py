"""PUB, SUB, XPUB and XSUB: what is subscribed, what is matched, what is passed on."""

from __future__ import annotations

import errno
import select

import pytest
from support import (
    TRANSPORTS,
    Background,
    RawListener,
    bind_over,
    drain,
    errno_of,
    eventually,
    free_port,
    fresh_inproc,
    know,
    receive,
    wait_for_event,
    watched,
    zmtp_connect,
)
from support.zmtp import command, frame

ONLY_FIRST_SUBSCRIBE = 108
TOPICS_COUNT = 116


@pytest.fixture
def pair_of(zmq, make, ipc_address):
    """pair_of(transport, sub type) -> (xpub, sub), connected; the XPUB shows when it knows."""

    def make_pair(transport="inproc", kind=zmq.SUB, **options):
        xpub = make(zmq.XPUB, **options)
        sub = make(kind)
        sub.connect(bind_over(xpub, transport, ipc_address))
        return xpub, sub

    return make_pair


# --- matching ------------------------------------------------------------------------------------


def wait_at_fd(zmq, sub):
    """As event loops do."""
    while not sub.getsockopt(zmq.EVENTS) & zmq.POLLIN:
        if not select.select([sub.getsockopt(zmq.FD)], [], [], 20)[0]:
            return 0
    return 1


WAYS_TO_WAIT = {
    "recv": lambda zmq, sub: 1,
    "poll": lambda zmq, sub: sub.poll(20000),
    "descriptor": wait_at_fd,
}


@pytest.fixture
def narrow(zmq, make, ipc_address):
    """An XPUB, and a SUB for a and b that takes one message at a time."""
    xpub = make(zmq.XPUB)
    sub = make(zmq.SUB, rcvhwm=1, rcvtimeo=20000)
    sub.connect(bind_over(xpub, "ipc", ipc_address))
    for topic in (b"a", b"b"):
        sub.subscribe(topic)
        assert xpub.recv() == b"\x01" + topic
    return xpub, sub


@pytest.mark.parametrize("way", WAYS_TO_WAIT)
def test_what_is_unsubscribed_holds_nothing_up_at_the_mark(zmq, narrow, way):
    """S-08, S-74: a message that is dropped makes room, too, and reading goes on."""
    xpub, sub = narrow
    for _ in range(200):
        xpub.send(b"b")
    xpub.send(b"a")
    sub.unsubscribe(b"b")
    assert WAYS_TO_WAIT[way](zmq, sub)
    assert sub.recv() == b"a"


def test_a_descriptor_made_after_a_look_that_only_dropped(zmq, narrow, on_libzmq):
    """As above, where no thread is at it: it is readable, since that look came to no end."""
    if on_libzmq:
        pytest.skip("libzmq has no stats()")
    xpub, sub = narrow
    for topic in (b"b", b"b", b"b", b"a"):
        xpub.send(topic)
    sub.unsubscribe(b"b")
    eventually(lambda: sub.stats()["in_queued"])
    assert wait_at_fd(zmq, sub)
    assert sub.recv() == b"a"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_sub_gets_a_message_once_however_many_prefixes_match(pair_of, transport):
    """S-74."""
    xpub, sub = pair_of(transport)
    for topic in (b"a", b"ab", b"abc", b"x"):
        sub.subscribe(topic)
        assert xpub.recv() == b"\x01" + topic
    for body in (b"abcd", b"b", b"xa", b"", b"a"):
        xpub.send(body)
    assert [sub.recv() for _ in range(3)] == [b"abcd", b"xa", b"a"]
    xpub.send(b"a end")
    assert sub.recv() == b"a end"


def test_only_the_first_part_is_matched(pair_of):
    """S-74."""
    xpub, sub = pair_of()
    sub.subscribe(b"a")
    xpub.recv()
    xpub.send_multipart([b"b", b"a"])
    xpub.send_multipart([b"a", b"b"])
    assert sub.recv_multipart() == [b"a", b"b"]


def test_the_empty_prefix_is_everything_and_none_is_nothing(zmq, make):
    """S-74."""
    pub = make(zmq.PUB)
    address = bind_over(pub, "inproc", "")
    everything, nothing = make(zmq.SUB), make(zmq.SUB)
    everything.connect(address)
    nothing.connect(address)
    everything.subscribe(b"")
    know(pub)
    pub.send(b"")
    pub.send(b"x")
    assert [everything.recv(), everything.recv()] == [b"", b"x"]
    assert not nothing.poll(0)


def test_a_message_sent_before_the_subscription_is_not_delivered(pair_of):
    """S-87: matching starts when the publisher has seen the subscription."""
    xpub, sub = pair_of("tcp")
    xpub.send(b"early")
    sub.subscribe(b"")
    xpub.recv()
    xpub.send(b"late")
    assert sub.recv() == b"late"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_subscriber_gets_its_own_topics(zmq, make, ipc_address, transport):
    """S-74, S-87."""
    xpub = make(zmq.XPUB)
    address = bind_over(xpub, transport, ipc_address)
    subs = [make(zmq.SUB) for _ in range(8)]
    for i, sub in enumerate(subs):
        sub.connect(address)
        sub.subscribe(b"%d" % i)
        assert xpub.recv() == b"\x01%d" % i
    for i in reversed(range(8)):
        xpub.send_multipart([b"%d" % i, b"body %d" % i])
    for i, sub in enumerate(subs):
        assert sub.recv_multipart() == [b"%d" % i, b"body %d" % i]
        assert not sub.poll(0)


@pytest.mark.parametrize("size", [1, 2, 62, 63, 64, 127, 253, 254, 255, 256, 257, 1000, 10_000])
def test_topics_of_any_length_work_over_tcp(pair_of, size):
    """xpub_topic: around the limits of short frames."""
    xpub, sub = pair_of("tcp")
    topic = bytes(65 + i % 26 for i in range(size))
    sub.subscribe(topic)
    assert xpub.recv() == b"\x01" + topic
    xpub.send(topic[:-1])
    xpub.send(topic + b"!")
    assert sub.recv() == topic + b"!"
    sub.unsubscribe(topic)
    assert xpub.recv() == b"\x00" + topic


def test_invert_matching_delivers_what_does_not_match(zmq, make):
    """S-84: set on both sides."""
    pub = make(zmq.PUB, invert_matching=1)
    address = bind_over(pub, "inproc", "")
    with_topics, without = make(zmq.SUB, invert_matching=1), make(zmq.SUB, invert_matching=1)
    with_topics.subscribe(b"A")
    with_topics.subscribe(b"B")
    for sub in (with_topics, without):
        sub.connect(address)
    know(pub)
    for body in (b"A1", b"B1", b"C1"):
        pub.send(body)
    assert with_topics.recv() == b"C1"
    assert drain(without) == [b"A1", b"B1", b"C1"]
    assert not with_topics.poll(0)


# --- counting and forwarding ---------------------------------------------------------------------


def test_every_subscribe_is_sent_but_only_the_last_unsubscribe(zmq, make):
    """S-75: counted by the SUB; both go as commands to a 3.1 peer (S-78)."""
    with RawListener() as mock:
        sub = make(zmq.SUB)
        sub.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("PUB")
        for _ in range(2):
            sub.subscribe(b"A")
            assert peer.recv_exactly(13) == b"\x04\x0b\x09SUBSCRIBEA"
        sub.unsubscribe(b"A")
        sub.unsubscribe(b"unknown")
        sub.subscribe(b"mark")
        assert peer.recv_command() == (b"SUBSCRIBE", b"mark"), "no CANCEL while one is left"
        peer.send_message(b"A still")
        assert sub.recv() == b"A still"
        sub.unsubscribe(b"A")
        assert peer.recv_exactly(10) == b"\x04\x08\x06CANCELA"
        peer.send_message(b"A no more")
        peer.send_message(b"mark")
        assert sub.recv() == b"mark"


def test_unsubscribing_the_unknown_succeeds(zmq, make):
    """semantics.md#socket-options, UNSUBSCRIBE."""
    sub = make(zmq.SUB)
    sub.unsubscribe(b"never")
    sub.subscribe(b"a")
    sub.unsubscribe(b"a")
    sub.unsubscribe(b"a")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_xpub_tells_the_first_subscriber_and_the_last_to_leave(zmq, make, ipc_address, transport):
    """S-76: also when the last one leaves by disconnecting."""
    xpub = make(zmq.XPUB)
    address = bind_over(xpub, transport, ipc_address)
    subs = [make(zmq.SUB) for _ in range(3)]
    marks = [b"mark %d" % i for i in range(3)]
    for i, sub in enumerate(subs):
        sub.connect(address)
        sub.subscribe(b"A")
        sub.subscribe(marks[i])
        if i == 0:
            assert xpub.recv() == b"\x01A"
        assert xpub.recv() == b"\x01" + marks[i], "A is known already"
    subs[0].unsubscribe(b"A")
    subs[0].unsubscribe(marks[0])
    assert xpub.recv() == b"\x00" + marks[0], "others still want A"
    subs[1].close()
    assert xpub.recv() == b"\x00" + marks[1]
    subs[2].close()
    assert sorted([xpub.recv(), xpub.recv()]) == sorted([b"\x00A", b"\x00" + marks[2]])


def test_a_repeated_subscription_of_one_peer_is_one_subscription(zmq, make):
    """S-76: a set of peers per topic, so one CANCEL ends two SUBSCRIBEs of a peer."""
    xpub = make(zmq.XPUB)
    xpub.bind("tcp://127.0.0.1:*")
    with zmtp_connect(xpub) as peer:
        peer.handshake("SUB")
        peer.send(command(b"SUBSCRIBE", b"A") * 2 + command(b"SUBSCRIBE", b"B"))
        assert [xpub.recv(), xpub.recv()] == [b"\x01A", b"\x01B"]
        peer.send(command(b"CANCEL", b"A"))
        assert xpub.recv() == b"\x00A"


def test_verbose_passes_every_subscription_on(zmq, make):
    """S-77: VERBOSE: all subscribes; unsubscribes as before."""
    xpub = make(zmq.XPUB, xpub_verbose=1)
    address = bind_over(xpub, "inproc", "")
    subs = [make(zmq.SUB) for _ in range(2)]
    for sub in subs:
        sub.connect(address)
        sub.subscribe(b"A")
        assert xpub.recv() == b"\x01A"
    subs[0].subscribe(b"A")
    assert xpub.recv() == b"\x01A", "a repetition of one peer, too"
    subs[0].unsubscribe(b"A")
    subs[0].unsubscribe(b"A")
    assert not xpub.poll(0), "the other one still wants it"
    subs[1].unsubscribe(b"A")
    assert xpub.recv() == b"\x00A"


def test_verboser_passes_every_unsubscription_on_too(zmq, make):
    """S-77: also on disconnect."""
    xpub = make(zmq.XPUB, xpub_verboser=1)
    address = bind_over(xpub, "inproc", "")
    subs = [make(zmq.SUB) for _ in range(3)]
    for sub in subs:
        sub.connect(address)
        sub.subscribe(b"A")
        assert xpub.recv() == b"\x01A"
    subs[0].unsubscribe(b"A")
    assert xpub.recv() == b"\x00A"
    subs[1].close()
    assert xpub.recv() == b"\x00A"
    subs[2].unsubscribe(b"A")
    assert xpub.recv() == b"\x00A"


def test_setting_verbose_ends_verboser(zmq, make):
    """S-77."""
    xpub = make(zmq.XPUB, xpub_verboser=1)
    xpub.xpub_verbose = 1
    address = bind_over(xpub, "inproc", "")
    subs = [make(zmq.SUB) for _ in range(2)]
    for sub in subs:
        sub.connect(address)
        sub.subscribe(b"A")
        assert xpub.recv() == b"\x01A"
    subs[0].unsubscribe(b"A")
    assert not xpub.poll(0)
    subs[1].unsubscribe(b"A")
    assert xpub.recv() == b"\x00A"


def test_xpub_shows_commands_and_messages_of_subscription_alike(zmq, make):
    """S-78, mock_pub_sub: to the application both are a byte and the topic."""
    xpub = make(zmq.XPUB)
    xpub.bind("tcp://127.0.0.1:*")
    with zmtp_connect(xpub) as peer:
        peer.handshake("SUB")
        peer.send(command(b"SUBSCRIBE", b"A"))
        assert xpub.recv() == b"\x01A"
        peer.send(frame(b"\x01B"))
        assert xpub.recv() == b"\x01B"
        xpub.send(b"ALOL")
        xpub.send(b"BLOL")
        assert peer.recv_exactly(12) == b"\x00\x04ALOL\x00\x04BLOL"
        peer.send(frame(b"\x00A"))
        assert xpub.recv() == b"\x00A"
        peer.send(command(b"CANCEL", b"B"))
        assert xpub.recv() == b"\x00B"
        xpub.send(b"ALOL")
        peer.send(command(b"SUBSCRIBE", b"C"))
        assert xpub.recv() == b"\x01C"
        xpub.send(b"C")
        assert peer.recv_message() == [b"C"]


@pytest.mark.parametrize("minor", [0, 1])
def test_a_subscription_behind_unread_messages_takes_effect(zmq, make, minor):
    """An XPUB whose application never reads: RCVHWM does not hold up who wants to hear it."""
    xpub = make(zmq.XPUB, rcvhwm=5)
    xpub.bind("tcp://127.0.0.1:*")
    with zmtp_connect(xpub) as peer:
        peer.handshake("SUB", minor=minor)
        peer.send(frame(b"message") * 50)
        peer.send(frame(b"\x01A") if minor == 0 else command(b"SUBSCRIBE", b"A"))

        def heard():
            xpub.send(b"A")
            return select.select([peer.sock], [], [], 0)[0]

        eventually(heard)
        assert peer.recv_message() == [b"A"]
    assert receive(xpub, 51) == [[b"message"]] * 50 + [[b"\x01A"]]


def test_unread_messages_of_an_inproc_subscriber_hold_up_no_subscription(zmq, make):
    xpub, xsub = make(zmq.XPUB, rcvhwm=5), make(zmq.XSUB, sndhwm=0)
    xpub.bind(address := fresh_inproc())
    xsub.connect(address)
    for _ in range(50):
        xsub.send(b"message")
    xsub.send(b"\x01A")

    def heard():
        xpub.send(b"A")
        return xsub.poll(0)

    eventually(heard)
    assert receive(xpub, 51) == [[b"message"]] * 50 + [[b"\x01A"]]


def test_what_changes_without_a_connection_is_what_the_next_one_begins_with(zmq, make):
    """Subscribed and cancelled between two connections, and kept from before."""
    with RawListener() as mock:
        sub = make(zmq.SUB, reconnect_ivl=1)
        sub.subscribe(b"kept")
        sub.subscribe(b"cancelled")
        with watched(sub) as monitor:
            sub.connect(mock.endpoint)
            with mock.accept() as peer:
                peer.handshake("PUB")
                assert {peer.recv_command()[1] for _ in range(2)} == {b"kept", b"cancelled"}
            wait_for_event(monitor, zmq.EVENT_DISCONNECTED)
        sub.unsubscribe(b"cancelled")
        sub.subscribe(b"new")
        peer = mock.accept()
        peer.handshake("PUB")
        received = Background(sub.recv)  # libzmq sees a new connection in calls only
        wanted = set()
        while wanted != {b"kept", b"new"}:
            name, topic = peer.recv_command()
            (wanted.add if name == b"SUBSCRIBE" else wanted.remove)(topic)
        peer.send_message(b"new one")
        assert received.result() == b"new one"


@pytest.mark.parametrize("size", [1, 254, 256])
def test_sub_subscribes_by_message_at_an_older_publisher(zmq, make, size):
    """S-78: to a 3.0 peer the subscription is a message."""
    topic = b"T" * size
    with RawListener() as mock:
        sub = make(zmq.SUB)
        sub.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("PUB", minor=0)
        sub.subscribe(topic)
        assert peer.recv_exactly(len(frame(b"\x01" + topic))) == frame(b"\x01" + topic)
        sub.unsubscribe(topic)
        assert peer.recv_exactly(len(frame(b"\x00" + topic))) == frame(b"\x00" + topic)


def test_a_topic_of_255_bytes_reaches_an_older_publisher(zmq, make, on_libzmq):
    """Difference (d): with its prefix byte it is a long frame."""
    if on_libzmq:
        pytest.skip("libzmq 4.3.5 sends a long length without the LONG flag")
    topic = b"T" * 255
    with RawListener() as mock:
        sub = make(zmq.SUB)
        sub.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("PUB", minor=0)
        sub.subscribe(topic)
        assert peer.recv_exactly(9 + 256) == b"\x02" + (256).to_bytes(8, "big") + b"\x01" + topic


def test_xpub_hands_on_what_an_xsub_says(zmq, make):
    """S-79: user messages as they are, an empty one too; they are no subscriptions."""
    xpub, xsub = make(zmq.XPUB), make(zmq.XSUB)
    xsub.connect(bind_over(xpub, "tcp", ""))
    xsub.send(b"\x01A")
    xsub.send(b"hello")
    xsub.send(b"")
    xsub.send_multipart([b"two", b"parts"])
    assert [xpub.recv_multipart() for _ in range(4)] == [
        [b"\x01A"],
        [b"hello"],
        [b""],
        [b"two", b"parts"],
    ]


def test_pub_ignores_what_an_xsub_says(zmq, make):
    """S-79: and recv stays unsupported."""
    pub, xsub = make(zmq.PUB), make(zmq.XSUB)
    xsub.connect(bind_over(pub, "inproc", ""))
    xsub.send(b"hello")
    xsub.send(b"\x01A")
    know(pub)
    assert pub.events == zmq.POLLOUT
    assert errno_of(zmq.ZMQError, pub.recv, zmq.DONTWAIT) == errno.ENOTSUP
    pub.send(b"A1")
    assert xsub.recv() == b"A1"


@pytest.mark.parametrize("only_first", [0, 1])
@pytest.mark.parametrize("first", [b"hello", b"\x01A"])
def test_later_parts_may_subscribe_unless_the_first_part_decides(zmq, make, only_first, first):
    """S-80: with the option a message whose first part is no subscription contains none."""
    xpub, xsub = make(zmq.XPUB), make(zmq.XSUB)
    for s in (xpub, xsub):
        s.setsockopt(ONLY_FIRST_SUBSCRIBE, only_first)
    xsub.connect(bind_over(xpub, "inproc", ""))
    xsub.send_multipart([first, b"\x01B", b"c"])
    xsub.send(b"\x01mark")
    got = [xpub.recv() for _ in range(4)]
    assert got == [first, b"\x01B", b"c", b"\x01mark"]
    xpub.send(b"B1")
    xpub.send(b"mark")
    assert drain(xsub) == ([b"mark"] if only_first and first == b"hello" else [b"B1", b"mark"])


def test_xsub_does_not_filter(zmq, make):
    """semantics.md#socket-types: XSUB passes on whatever a publisher sends."""
    with RawListener() as mock:
        xsub = make(zmq.XSUB)
        assert xsub.events == zmq.POLLOUT, "always writable"
        xsub.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("PUB")
        xsub.send(b"\x01A")
        body = peer.recv_frame()[1]
        assert body in (b"\x09SUBSCRIBEA", b"\x01A"), "libzmq sends the bytes as they are"
        peer.send_message(b"not A")
        assert xsub.recv() == b"not A"


def test_sub_filters_what_a_careless_publisher_sends(zmq, make):
    """semantics.md#socket-types: SUB checks its prefixes itself."""
    with RawListener() as mock:
        sub = make(zmq.SUB)
        sub.connect(mock.endpoint)
        peer = mock.accept()
        peer.handshake("PUB")
        sub.subscribe(b"A")
        assert peer.recv_command() == (b"SUBSCRIBE", b"A")
        peer.send_message(b"not A", b"A")
        peer.send_message(b"A", b"part")
        assert sub.recv_multipart() == [b"A", b"part"]


@pytest.mark.parametrize("sndhwm", [0, 1000])
@pytest.mark.parametrize("first", ["subscribe", "connect"])
def test_thousands_of_subscriptions_wait_for_a_connection(zmq, make, on_libzmq, first, sndhwm):
    """S-85: all are effective once there is a publisher."""
    if on_libzmq and sndhwm:
        pytest.skip("libzmq drops the subscriptions beyond SNDHWM in silence")
    sub = make(zmq.SUB, reconnect_ivl=10, sndhwm=sndhwm)
    port = free_port()
    topics = [b"%d;" % i for i in range(5000)]
    if first == "connect":
        sub.connect(f"tcp://127.0.0.1:{port}")
    for topic in topics:
        sub.subscribe(topic)
    if first == "subscribe":
        sub.connect(f"tcp://127.0.0.1:{port}")
    xpub = make(zmq.XPUB)
    xpub.bind(f"tcp://127.0.0.1:{port}")
    assert {xpub.recv() for _ in topics} == {b"\x01" + t for t in topics}
    xpub.send(b"4999; last")
    assert sub.recv() == b"4999; last"


def test_subscriptions_are_sent_again_after_a_reconnect(zmq, make, on_libzmq):
    """S-21: to each new publisher, without a call of the subscriber; libzmq's sends them in one
    that comes after the loss.
    """
    with RawListener() as mock:
        sub = make(zmq.SUB, reconnect_ivl=10)
        sub.subscribe(b"A")
        sub.subscribe(b"A")
        sub.subscribe(b"B")
        sub.connect(mock.endpoint)
        for _ in range(3):
            peer = mock.accept()
            if on_libzmq:
                _ = sub.events
            peer.handshake("PUB")
            got = {peer.recv_command() for _ in range(2)}
            assert got == {(b"SUBSCRIBE", b"A"), (b"SUBSCRIBE", b"B")}
            peer.send_message(b"A1")
            assert sub.recv() == b"A1"
            peer.close()


def test_a_forwarder_passes_changes_on(zmq, make):
    """S-86, sub_forward: XSUB and XPUB in the middle, by hand."""
    pub, sub = make(zmq.XPUB), make(zmq.SUB)
    front, back = make(zmq.XSUB), make(zmq.XPUB)
    front.connect(bind_over(pub, "tcp", ""))
    sub.connect(bind_over(back, "tcp", ""))
    other = make(zmq.SUB)
    other.connect(back.LAST_ENDPOINT)

    sub.subscribe(b"T")
    front.send(back.recv())
    assert pub.recv() == b"\x01T"
    pub.send(b"T1")
    back.send(front.recv())
    assert sub.recv() == b"T1"

    other.subscribe(b"T")
    other.subscribe(b"mark")
    assert back.recv() == b"\x01mark", "T is no change"
    sub.unsubscribe(b"T")
    other.unsubscribe(b"T")
    front.send(back.recv())
    assert pub.recv() == b"\x00T"


@pytest.mark.parametrize("kind", ["PUB", "XPUB", "SUB", "XSUB"])
def test_topics_are_counted(zmq, make, kind):
    """S-88: distinct prefixes, nested ones too."""
    pub = make(getattr(zmq, kind if "PUB" in kind else "PUB"))
    sub = make(getattr(zmq, kind if "SUB" in kind else "SUB"))
    counted = pub if "PUB" in kind else sub
    sub.connect(bind_over(pub, "inproc", ""))

    def change(byte, topic):
        if sub.type == zmq.XSUB:
            sub.send(byte + topic)
        elif byte == b"\x01":
            sub.subscribe(topic)
        else:
            sub.unsubscribe(topic)
        know(pub)
        return counted.getsockopt(TOPICS_COUNT)

    assert counted.getsockopt(TOPICS_COUNT) == 0
    assert change(b"\x01", b"A") == 1
    assert change(b"\x01", b"B") == 2
    assert change(b"\x01", b"BB") == 3
    assert change(b"\x01", b"BB") == 3
    assert change(b"\x01", b"") == 4
    assert change(b"\x00", b"") == 3
    assert change(b"\x00", b"B") == 2
    assert change(b"\x00", b"A") == 1
