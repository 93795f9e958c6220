"""Notes of exceptions: what a person needs to know to go on, below pyzmq's class, errno and text.

Each function answers one, or "" where there is nothing to say. They are called through
`zmq_monocoque.error._add_note`, once something has failed.
"""

from __future__ import annotations

import difflib
import re
import socket as system
from collections.abc import Callable, Iterable
from errno import EADDRINUSE, EAGAIN, ENODEV
from typing import Any

from zmq_monocoque.constants import (
    CURVE_PUBLICKEY,
    CURVE_SECRETKEY,
    CURVE_SERVERKEY,
    POLLIN,
    RCVTIMEO,
    REP,
    REQ,
    SNDHWM,
    SNDTIMEO,
    TYPE,
    Errno,
)

#: So many endpoints are named; a list of thousands is none for people.
ENDPOINTS_MAX = 10

_KEYS = (CURVE_PUBLICKEY, CURVE_SECRETKEY, CURVE_SERVERKEY)

#: By type, and whether it was to receive.
_STATES = {
    (REQ, False): "this REQ waits for the reply to its last request: recv() comes first, unless"
    " REQ_RELAXED is set",
    (REQ, True): "this REQ has sent no request that a reply could come to: send() comes first",
    (REP, False): "this REP has received no request that it could reply to: recv() comes first",
    (REP, True): "this REP has not replied to the request that it received: send() comes first",
}


def of_message(socket: Any, errno: int | None, event: int) -> str:
    """Why no message could be sent (or, with ``event`` POLLIN, received)."""
    if errno == Errno.EFSM:
        return _STATES.get((socket._zm_get_int(TYPE), event == POLLIN), "")
    if errno != EAGAIN:
        return ""
    stats = socket.stats()
    peers = stats["peers"]
    if event == POLLIN:
        within = socket._zm_get_int(RCVTIMEO)
        text = f"nothing was received within {within} ms (RCVTIMEO) from {_count(peers, 'peer')}"
    else:
        within, limit = socket._zm_get_int(SNDTIMEO), socket._zm_get_int(SNDHWM)
        text = (
            f"nobody could take the message within {within} ms (SNDTIMEO): {_count(peers, 'peer')},"
            f" {_count(stats['out_queued'], 'message')} queued (SNDHWM is {limit} a peer)"
        )
    if not peers and (reason := stats["last_connect_error"] or stats["last_handshake_error"]):
        text += f"; the last attempt to connect: {reason}"
    return text


def of_option(option: int, value: object, known: Iterable[int]) -> str:
    """Why an option could not be set to a value. Never repeats a key."""
    if option in _KEYS and isinstance(value, bytes):
        return (
            f"a CURVE key is 32 bytes, or 40 characters of Z85 as zmq.curve_keypair() makes them;"
            f" this has {_count(len(value), 'byte')}"
        )
    return "" if option in known else f"no option has the number {option}"


def of_name(name: str, names: Iterable[str]) -> str:
    """Which option was meant."""
    nearest = difflib.get_close_matches(name.upper(), [n for n in names if n.isupper()], 1, 0.7)
    return f"did you mean {nearest[0].lower()!r}?" if nearest else ""


def of_bind(errno: int | None, endpoint: str) -> str:
    """Why an endpoint could not be bound."""
    if errno == EADDRINUSE:
        return _of_used(endpoint)
    if errno != ENODEV or not (found := re.match(r"(\w+)://(.+):([^:]*)$", endpoint)):
        return ""
    transport, interface, port = found.groups()
    names = ", ".join(name for _, name in system.if_nameindex())
    return (
        f"this machine has no interface or address {interface!r} (interfaces: {names});"
        f" '{transport}://*:{port}' binds to all"
    )


def _of_used(endpoint: str) -> str:
    if endpoint.startswith("tcp://"):
        port = endpoint.rpartition(":")[2]
        return (
            f"another socket listens on port {port}, of this process or another"
            f" (`ss -ltnp 'sport = :{port}'` shows which); port * takes a free one"
        )
    if endpoint.startswith("inproc://"):
        return "another socket of this context is bound to that name"
    return "another socket is bound to it, of this process or another"


def of_end(endpoints_of: Callable[[], list[str]]) -> str:
    """Why an endpoint could not be unbound or disconnected: there is none such."""
    endpoints = endpoints_of()
    if not endpoints:
        return "this socket has no endpoints"
    named = ", ".join(endpoints[:ENDPOINTS_MAX])
    more = len(endpoints) - ENDPOINTS_MAX
    return f"its endpoints are: {named}" + (f", and {more} more" if more > 0 else "")


def _count(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
