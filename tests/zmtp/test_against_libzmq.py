"""The transcripts, replayed to a real libzmq: what we hold to be its behaviour is.

A bare TCP client plays the peer; libzmq must send the very bytes of the transcript, and its
monitor must tell the fault that our session tells.
"""

from __future__ import annotations

import errno

import pytest
from support import RawPeer, monitor_events, port_of
from zmtp import transcripts as t
from zmtp.replay import feed

# Differences of protocol.md#where-libzmq-differs-from-the-rfcs and of differences.md, apart from
# Transcript.differs.
REPLAYED = [x for x in t.ALL if not x.differs]

PROTOCOL, AUTH, DISCONNECTED = 0x2000, 0x4000, 0x0200
SUCCEEDED = 0x1000


@pytest.mark.parametrize("transcript", REPLAYED, ids=[x.name for x in REPLAYED])
def test_libzmq_answers_the_same_bytes_and_tells_the_same_fault(transcript, pyzmq, peer_ctx):
    socket = peer_ctx.socket(getattr(pyzmq, transcript.kind))
    monitor = socket.get_monitor_socket()
    socket.linger = 0
    if transcript.routing_id:
        socket.routing_id = transcript.routing_id
    socket.maxmsgsize = transcript.options.get("max_message_size", -1)
    socket.bind("tcp://127.0.0.1:*")
    with RawPeer.connect(port_of(socket)) as peer:
        got = replay(peer, transcript)
        if transcript.error:
            assert transcript.sent.startswith(got)
            told = monitor_events(monitor, until=DISCONNECTED)
            faults = [e[:2] for e in told if e[0] in (PROTOCOL, AUTH)]
            assert faults == expected_faults(transcript)
        else:
            assert got == transcript.sent
        if not transcript.error and transcript.events and transcript.events[0].version >= (3, 0):
            monitor_events(monitor, until=SUCCEEDED)
    socket.disable_monitor()
    socket.close()


def replay(peer: RawPeer, transcript: t.Transcript) -> bytes:
    """Plays the peer; returns what libzmq sent, until it closed where an error is due.

    The traffic is held back until libzmq's READY is there: one that comes before libzmq has put
    its own READY on the wire is an unexpected command to it. Where it finds an error it drops
    what it had not sent yet.
    """
    greeting, rest = transcript.received[:64], transcript.received[64:]
    got = b""
    peer.send(greeting)
    if rest:
        due = len(feed(transcript.session(), [greeting]).sent)
        got += peer.recv_exactly(due)
        peer.send(rest)
    if not transcript.error:
        return got + peer.recv_exactly(len(transcript.sent) - len(got))
    try:
        while piece := peer.sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def expected_faults(transcript) -> list[tuple[int, int]]:
    code, kind, value = transcript.error
    assert code in (errno.EPROTO, errno.EMSGSIZE)
    return {"protocol": [(PROTOCOL, value)], "auth": [(AUTH, value)], "silent": []}[kind]
