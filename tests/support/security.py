"""Helpers for tests of PLAIN, CURVE and ZAP: keys, a hand-written handler, options of both sides,
and the client's and the server's side of CURVE, written from RFC 26 over PyNaCl.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from contextlib import contextmanager

from nacl import bindings as nacl

from .waiting import TIMEOUT
from .zmtp import parse_properties, properties

MECHANISMS = ("NULL", "PLAIN", "CURVE")
ZAP_ENDPOINT = "inproc://zeromq.zap.01"
USER, PASSWORD, DOMAIN = b"user", b"pass word", b"a domain"

#: (public, secret), 40 characters of Z85 each. libzmq's manual has them as examples.
SERVER = (
    b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    b"JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
)
CLIENT = (
    b"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
    b"D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs",
)


def make_server(s, mechanism: str, keys: tuple[bytes, bytes]) -> None:
    """Sets the options of the side that clients prove themselves to."""
    if mechanism == "NULL":
        s.zap_domain = DOMAIN
    elif mechanism == "PLAIN":
        s.plain_server = True
    else:
        s.curve_server = True
        s.curve_secretkey = keys[1]


def make_client(s, mechanism: str, keys: tuple[bytes, bytes], server_key: bytes) -> None:
    if mechanism == "PLAIN":
        s.plain_username = USER
        s.plain_password = PASSWORD
    elif mechanism == "CURVE":
        s.curve_publickey, s.curve_secretkey = keys
        s.curve_serverkey = server_key


OK = [b"1.0", b"1", b"200", b"welcome", b"a user", properties({b"Team": b"red"})]


def reply(status: bytes = b"200", **changes) -> list[bytes]:
    """A handler's answer; `changes` replace parts by name."""
    names = ("version", "request", "status", "text", "user", "metadata")
    parts = dict(zip(names, OK, strict=True), status=status)
    parts.update(changes)
    return list(parts.values())


class Handler:
    """A ZAP handler on a thread: a REP socket that answers everything alike.

    ``asked``: the questions so far, without the empty delimiter. ``answer`` is a list of parts, or
    a function of the question.
    """

    def __init__(self, zmq, context, answer: list[bytes] | Callable[[list[bytes]], list[bytes]]):
        self.asked: list[list[bytes]] = []
        self._zmq = zmq
        self._answer = answer
        self._rep = context.socket(zmq.REP)
        self._rep.linger = 0
        self._rep.bind(ZAP_ENDPOINT)
        self._stop = context.socket(zmq.PAIR)
        self._stop.bind(f"inproc://stop-{id(self)}")
        self._ask_to_stop = context.socket(zmq.PAIR)
        self._ask_to_stop.connect(f"inproc://stop-{id(self)}")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        poller = self._zmq.Poller()
        poller.register(self._rep, self._zmq.POLLIN)
        poller.register(self._stop, self._zmq.POLLIN)
        while True:
            ready = dict(poller.poll(TIMEOUT * 1000))
            if self._stop in ready:
                return
            if self._rep in ready:
                question = self._rep.recv_multipart()
                self.asked.append(question)
                answer = self._answer(question) if callable(self._answer) else self._answer
                self._rep.send_multipart(answer)

    def close(self) -> None:
        self._ask_to_stop.send(b"")
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        for s in (self._rep, self._stop, self._ask_to_stop):
            s.close(linger=0)


@contextmanager
def handler(zmq, context, answer=None):
    h = Handler(zmq, context, OK if answer is None else answer)
    try:
        yield h
    finally:
        h.close()


# --- CURVE by hand -------------------------------------------------------------------------------

HELLO, WELCOME, INITIATE, READY, MESSAGE = (
    bytes([len(name)]) + name for name in (b"HELLO", b"WELCOME", b"INITIATE", b"READY", b"MESSAGE")
)
INNER_MORE, INNER_COMMAND = 1, 2


def long_nonce(prefix: bytes, fill: int) -> tuple[bytes, bytes]:
    """(the 16 bytes that travel, the whole nonce)."""
    travels = bytes([fill]) * 16
    return travels, prefix + travels


def short_nonce(prefix: bytes, counter: int) -> tuple[bytes, bytes]:
    travels = struct.pack(">Q", counter)
    return travels, prefix + travels


class CurveSide:
    """Either side's keys and counter. The methods make and take bodies of commands."""

    prefix: bytes

    def __init__(self, long_pair: tuple[bytes, bytes]):
        self.public, self.secret = long_pair
        self.short_public, self.short_secret = nacl.crypto_box_keypair()
        self.counter = 0
        self.shared = b""

    def count(self) -> int:
        self.counter += 1
        return self.counter

    def message(self, text: bytes, flags: int = 0, counter: int | None = None) -> bytes:
        number = self.count() if counter is None else counter
        travels, nonce = short_nonce(self.prefix, number)
        box = nacl.crypto_box_afternm(bytes([flags]) + text, nonce, self.shared)
        return MESSAGE + travels + box

    def open(self, body: bytes) -> tuple[int, int, bytes]:
        """(counter, flags, text) of a MESSAGE from the other side."""
        assert body[:8] == MESSAGE
        theirs = b"CurveZMQMESSAGES" if self.prefix[-1:] == b"C" else b"CurveZMQMESSAGEC"
        text = nacl.crypto_box_open_afternm(body[16:], theirs + body[8:16], self.shared)
        return int.from_bytes(body[8:16], "big"), text[0], text[1:]


class CurveClient(CurveSide):
    prefix = b"CurveZMQMESSAGEC"

    def __init__(self, long_pair: tuple[bytes, bytes], server_public: bytes):
        super().__init__(long_pair)
        self.server_public = server_public
        self.server_short = self.cookie = b""

    def hello(self) -> bytes:
        travels, nonce = short_nonce(b"CurveZMQHELLO---", self.count())
        box = nacl.crypto_box(bytes(64), nonce, self.server_public, self.short_secret)
        return HELLO + b"\1\0" + bytes(72) + self.short_public + travels + box

    def take_welcome(self, body: bytes) -> None:
        assert len(body) == 168 and body[:8] == WELCOME
        nonce = b"WELCOME-" + body[8:24]
        text = nacl.crypto_box_open(body[24:], nonce, self.server_public, self.short_secret)
        self.server_short, self.cookie = text[:32], text[32:]
        self.shared = nacl.crypto_box_beforenm(self.server_short, self.short_secret)

    def initiate(self, metadata: bytes, vouch_for: bytes | None = None) -> bytes:
        vouch_travels, vouch_nonce = long_nonce(b"VOUCH---", 7)
        vouched = (vouch_for or self.short_public) + self.server_public
        vouch = nacl.crypto_box(vouched, vouch_nonce, self.server_short, self.secret)
        travels, nonce = short_nonce(b"CurveZMQINITIATE", self.count())
        text = self.public + vouch_travels + vouch + metadata
        box = nacl.crypto_box_afternm(text, nonce, self.shared)
        return INITIATE + self.cookie + travels + box

    def take_ready(self, body: bytes) -> dict[bytes, bytes]:
        assert body[:6] == READY
        assert body[6:14] == struct.pack(">Q", 1)
        nonce = b"CurveZMQREADY---" + body[6:14]
        return parse_properties(nacl.crypto_box_open_afternm(body[14:], nonce, self.shared))


class CurveServer(CurveSide):
    prefix = b"CurveZMQMESSAGES"

    def __init__(self, long_pair: tuple[bytes, bytes]):
        super().__init__(long_pair)
        self.client_short = self.client_public = b""
        self.cookie = bytes(range(96))  # the client only carries it

    def take_hello(self, body: bytes) -> None:
        assert len(body) == 200 and body[:8] == HELLO + b"\1\0" and not any(body[8:80])
        self.client_short = body[80:112]
        assert body[112:120] == struct.pack(">Q", 1)
        nonce = b"CurveZMQHELLO---" + body[112:120]
        text = nacl.crypto_box_open(body[120:], nonce, self.client_short, self.secret)
        assert text == bytes(64)

    def welcome(self) -> bytes:
        travels, nonce = long_nonce(b"WELCOME-", 9)
        text = self.short_public + self.cookie
        box = nacl.crypto_box(text, nonce, self.client_short, self.secret)
        self.shared = nacl.crypto_box_beforenm(self.client_short, self.short_secret)
        return WELCOME + travels + box

    def take_initiate(self, body: bytes) -> dict[bytes, bytes]:
        assert body[:9] == INITIATE and body[9:105] == self.cookie
        assert body[105:113] == struct.pack(">Q", 2)
        nonce = b"CurveZMQINITIATE" + body[105:113]
        text = nacl.crypto_box_open_afternm(body[113:], nonce, self.shared)
        self.client_public = text[:32]
        vouch = nacl.crypto_box_open(
            text[48:128], b"VOUCH---" + text[32:48], self.client_public, self.short_secret
        )
        assert vouch == self.client_short + self.public
        return parse_properties(text[128:])

    def ready(self, metadata: bytes) -> bytes:
        travels, nonce = short_nonce(b"CurveZMQREADY---", self.count())
        return READY + travels + nacl.crypto_box_afternm(metadata, nonce, self.shared)
