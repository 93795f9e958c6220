"""A session fed with a transcript, and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from zmq_monocoque import zmtp
from zmq_monocoque.zmtp import Event

from .transcripts import Transcript


@dataclass
class Result:
    """What a session made of bytes."""

    sent: bytes = b""
    events: list[Event] = field(default_factory=list)
    error: tuple[int, str, int] | None = None


def feed(session: zmtp.Session, pieces) -> Result:
    """Gives a session bytes piece by piece, until it breaks."""
    result = Result(sent=session.data_to_send())
    for piece in pieces:
        if not piece:
            continue
        session.receive_data(piece)
        try:
            for event in session.events():
                result.events.append(event)
                result.sent += session.data_to_send()
        except zmtp.RemoteProtocolError as error:
            result.error = (error.errno, error.kind, error.value)
        result.sent += session.data_to_send()
        if result.error:
            break
    return result


def of(transcript: Transcript) -> Result:
    """What a session has to make of the transcript."""
    return Result(transcript.sent, transcript.events, transcript.error)
