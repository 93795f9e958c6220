"""The session against the bytes of protocol.md, whole and in pieces (#splits)."""

from __future__ import annotations

import pytest
from zmtp import replay
from zmtp import transcripts as t


def by_name(table):
    return pytest.mark.parametrize("transcript", table, ids=[x.name for x in table])


@by_name(t.ALL)
def test_the_session_answers_and_tells_what_the_transcript_says(transcript):
    assert replay.feed(transcript.session(), [transcript.received]) == replay.of(transcript)


@by_name(t.ALL)
def test_a_byte_at_a_time_makes_no_difference(transcript):
    pieces = [bytes([b]) for b in transcript.received]
    assert replay.feed(transcript.session(), pieces) == replay.of(transcript)


@by_name(t.ALL)
@pytest.mark.parametrize("cut", [1, 9, 10, 11, 12, 63, 64, 65, 66, 70])
def test_a_cut_in_the_greeting_makes_no_difference(transcript, cut):
    pieces = [transcript.received[:cut], transcript.received[cut:]]
    assert replay.feed(transcript.session(), pieces) == replay.of(transcript)


@by_name([x for x in t.ALL if not x.error])
def test_a_session_that_has_not_broken_needs_more_than_it_has(transcript):
    """Method: after every byte, the answer None comes with a need of at least one byte more, and
    giving exactly that many makes progress or a new, larger need."""
    session = transcript.session()
    at = 0
    while at < len(transcript.received):
        assert session.next_event() is None
        needed = session.bytes_needed
        assert needed >= 1
        session.receive_data(transcript.received[at : at + needed])
        at += needed
        for _ in session.events():
            pass


def test_the_first_bytes_are_only_the_signature():
    session = t.GREETINGS[0].session()
    assert session.data_to_send() == t.signature(b"abc")


def test_the_major_follows_the_signature_and_the_rest_follows_the_major():
    session = t.GREETINGS[0].session()
    session.data_to_send()
    session.receive_data(t.signature())
    assert session.next_event() is None
    assert session.data_to_send() == b"\x03"
    session.receive_data(b"\x03")
    assert session.next_event() is None
    assert session.data_to_send() == t.greeting_rest()
    session.receive_data(t.greeting_rest())
    assert session.next_event() is None
    assert session.data_to_send() == t.ready("DEALER", b"abc")


def test_an_anonymous_peer_is_ready_only_with_its_whole_routing_id():
    """libzmq counts it as ready at the first byte (S-28)."""
    session = t.Transcript("", "DEALER", b"", b"", []).session()
    session.receive_data(b"\x04\x00ab")
    assert session.next_event() is None
    assert session.state == "handshake"
    assert session.bytes_needed == 1
    session.receive_data(b"c")
    assert session.next_event() == t.Ready((1, 0), "", b"abc")
    assert session.state == "active"


def test_a_broken_session_stays_broken():
    session = t.Transcript("", "DEALER", b"", b"", []).session()
    session.receive_data(b"\0" + t.greeting() + t.ready("ROUTER"))
    errors = []
    for _ in range(2):
        with pytest.raises(t.zmtp.RemoteProtocolError) as caught:
            session.next_event()
        errors.append(caught.value.errno)
    assert errors == [t.errno.EPROTO] * 2
    assert session.state == "broken"
    with pytest.raises(t.zmtp.LocalProtocolError):
        session.send_message([b"x"])
