"""`Authenticator`: decides on the requests of ZAP; who receives them is a subclass's matter.

Knows nothing of threads and loops. No password, and no key but public ones, is ever logged.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Awaitable
from typing import Any

import zmq_monocoque as zmq
from zmq_monocoque.auth.certs import load_certificates
from zmq_monocoque.utils import z85

__all__ = ["Authenticator", "CURVE_ALLOW_ANY"]

#: As a location: every client that proves that it owns its key.
CURVE_ALLOW_ANY = "*"

#: The version of ZAP, and where its handler is: RFC 27.
VERSION = b"1.0"
_ENDPOINT = "inproc://zeromq.zap.01"

#: Parts of a request before the credentials: version, request id, domain, address, routing id of
#: the server, mechanism.
_HEAD_PARTS = 6

#: The key of a client, in bytes.
_CURVE_KEY_BYTES = 32

#: What an empty domain is called in the tables.
_ANY_DOMAIN = "*"

#: A decision: is it yes, why not, and who it is.
_Verdict = tuple[bool, bytes, str]


class Authenticator:
    """Authenticator(context=None, encoding="utf-8", log=None): a ZAP handler's rules.

    `start` binds ``zap_socket``; every message that arrives there goes to `handle_zap_message`.
    Without any rule NULL is allowed, PLAIN and CURVE are not. ``context`` (default
    Context.instance()) is the context of the servers. ``encoding`` is that of user names,
    passwords and domains. ``log`` is a Logger (default "zmq.auth").

    A rule for the domain "*" is for servers without a ZAP_DOMAIN, as in pyzmq: a server that has
    one needs a rule of that name. Of a domain that has both, the callback is asked, and not the
    certificates.
    """

    context: zmq.Context[Any]
    encoding: str
    allow_any: bool
    credentials_providers: dict[str, Any]
    zap_socket: zmq.Socket[Any] | None
    _allowed: set[str]
    _denied: set[str]
    passwords: dict[str, dict[str, str]]
    certs: dict[str, dict[bytes, bool]]
    log: Any

    def __init__(
        self, context: zmq.Context[Any] | None = None, encoding: str = "utf-8", log: Any = None
    ) -> None:
        self.context = zmq.Context.instance() if context is None else context
        self.encoding = encoding
        self.allow_any = False
        self.credentials_providers = {}
        self.zap_socket = None
        self._allowed = set()
        self._denied = set()
        self.passwords = {}
        self.certs = {}
        self.log = log or logging.getLogger("zmq.auth")

    def start(self) -> None:
        """Binds ``zap_socket``, before any client connects to a server.

        ZMQError(EADDRINUSE): the context has a handler already.
        """
        self.log.debug("Starting")
        # A plain one, also when the context makes others.
        socket: zmq.Socket[Any] = self.context.socket(zmq.REP, socket_class=zmq.Socket)
        socket.linger = 1
        try:
            socket.bind(_ENDPOINT)
        except BaseException:
            socket.close()
            raise
        self.zap_socket = socket

    def stop(self) -> None:
        """Closes ``zap_socket``. May be called again."""
        if self.zap_socket is not None:
            self.zap_socket.close()
        self.zap_socket = None

    def allow(self, *addresses: str) -> None:
        """Lets only these ``addresses`` in, whatever the mechanism; ValueError after `deny`."""
        if self._denied:
            raise ValueError("Only use allow or deny, not both")
        self.log.debug("Allowing %s", ",".join(addresses))
        self._allowed.update(addresses)

    def deny(self, *addresses: str) -> None:
        """Keeps these ``addresses`` out, whatever the mechanism; ValueError after `allow`."""
        if self._allowed:
            raise ValueError("Only use allow or deny, not both")
        self.log.debug("Denying %s", ",".join(addresses))
        self._denied.update(addresses)

    def configure_plain(
        self, domain: str = _ANY_DOMAIN, passwords: dict[str, str] | None = None
    ) -> None:
        """PLAIN: the ``passwords`` of the users of a ``domain``. The dict may be changed later."""
        if passwords:
            self.passwords[domain] = passwords
        self.log.debug("Configure plain: %s", domain)

    def configure_curve(
        self, domain: str = _ANY_DOMAIN, location: str | os.PathLike[str] = "."
    ) -> None:
        """CURVE: the certificates of the clients of a ``domain``, in the directory ``location``.

        They are the ``*.key`` files there, so the directory holds nobody else's. They are read now;
        call it again when they have changed: who is connected stays. The domain "*" is that of
        servers without a ZAP_DOMAIN. `CURVE_ALLOW_ANY` in place of a directory allows all keys, in
        all domains. What cannot be read is logged, and nobody is let in by it.
        """
        self.log.debug("Configure curve: %s[%s]", domain, location)
        self.allow_any = location == CURVE_ALLOW_ANY
        if self.allow_any:
            return
        try:
            self.certs[domain] = load_certificates(location)
        except Exception as error:
            self.log.error("Failed to load CURVE certs from %s: %s", location, error)

    def configure_curve_callback(
        self, domain: str = _ANY_DOMAIN, credentials_provider: Any = None
    ) -> None:
        """CURVE: ``credentials_provider.callback(domain, key)`` says whether a client may in.

        ``key`` is its public key as 40 bytes of Z85. The callback may be a coroutine function.
        One that raises is logged, and the client gets status 500.
        """
        self.allow_any = False
        if credentials_provider is None:
            self.log.error("None credentials_provider provided for domain:%s", domain)
        else:
            self.credentials_providers[domain] = credentials_provider

    def configure_gssapi(self, domain: str = _ANY_DOMAIN, location: str | None = None) -> None:
        """Nothing, whatever ``domain`` and ``location`` are: the engine has no GSSAPI."""

    def curve_user_id(self, client_public_key: bytes) -> str:
        """The user id of a client with ``client_public_key`` (32 bytes): its Z85.

        To be overridden.
        """
        return z85.encode(client_public_key).decode("ascii")

    async def handle_zap_message(self, msg: list[bytes]) -> None:
        """Answers one request (RFC 27).

        ``msg``: the parts of a message as ``zap_socket`` received it.
        """
        request_id = msg[1] if len(msg) > 1 else b""
        if len(msg) < _HEAD_PARTS:
            self.log.error("Invalid ZAP message, not enough frames: %d", len(msg))
            self._send_zap_reply(request_id, b"400", b"Not enough frames")
            return
        version, _, raw_domain, raw_address, identity, mechanism = msg[:_HEAD_PARTS]
        if version != VERSION:
            self.log.error("Invalid ZAP version: %r", version)
            self._send_zap_reply(request_id, b"400", b"Invalid version")
            return
        domain = raw_domain.decode(self.encoding, "replace")
        address = raw_address.decode(self.encoding, "replace")
        self.log.debug(
            "version: %r, request_id: %r, domain: %r, address: %r, identity: %r, mechanism: %r",
            version,
            request_id,
            domain,
            address,
            identity,
            mechanism,
        )
        reason = self._zm_address_refused(address)
        if reason:
            self._send_zap_reply(request_id, b"400", reason)
            return
        try:
            allowed, reason, user_id = await self._zm_authenticate(
                mechanism, domain, msg[_HEAD_PARTS:]
            )
        except Exception:
            self.log.exception("A %r request could not be decided", mechanism)
            self._send_zap_reply(request_id, b"500", b"Internal error")
            return
        if allowed:
            self._send_zap_reply(request_id, b"200", b"OK", user_id)
        else:
            self._send_zap_reply(request_id, b"400", reason)

    def _zm_address_refused(self, address: str) -> bytes:
        """Why an address may not in; empty: it may."""
        if self._allowed:
            if address not in self._allowed:
                self.log.debug("DENIED (not allowed) address=%s", address)
                return b"Address not allowed"
            self.log.debug("PASSED (allowed) address=%s", address)
        elif self._denied:
            if address in self._denied:
                self.log.debug("DENIED (denied) address=%s", address)
                return b"Address denied"
            self.log.debug("PASSED (not denied) address=%s", address)
        return b""

    async def _zm_authenticate(
        self, mechanism: bytes, domain: str, credentials: list[bytes]
    ) -> _Verdict:
        expected = {b"PLAIN": 2, b"CURVE": 1, b"GSSAPI": 1}.get(mechanism)
        if expected is not None and len(credentials) != expected:
            # How many, not which: one may be a password.
            self.log.error("Invalid %s credentials: %d", mechanism.decode(), len(credentials))
            return False, b"Invalid credentials", ""
        if mechanism == b"NULL":
            self.log.debug("ALLOWED (NULL)")
            return True, b"", "anonymous"
        if mechanism == b"PLAIN":
            # Lossless, so that different bytes never make the same name.
            name, password = (part.decode(self.encoding, "surrogateescape") for part in credentials)
            return *self._authenticate_plain(domain, name, password), name
        if mechanism == b"CURVE":
            (key,) = credentials
            if len(key) != _CURVE_KEY_BYTES:
                self.log.error("Invalid CURVE credentials: a key of %d bytes", len(key))
                return False, b"Invalid credentials", ""
            allowed, reason = await self._authenticate_curve(domain, key)
            return allowed, reason, self.curve_user_id(key) if allowed else ""
        if mechanism == b"GSSAPI":
            (principal,) = credentials
            allowed, reason = self._authenticate_gssapi(domain, principal)
            return allowed, reason, principal.decode(self.encoding, "surrogateescape")
        return False, b"NO ACCESS", ""

    def _authenticate_plain(self, domain: str, username: str, password: str) -> tuple[bool, bytes]:
        domain = domain or _ANY_DOMAIN
        if not self.passwords:
            reason = b"No passwords defined"
        elif domain not in self.passwords:
            reason = b"Invalid domain"
        elif username not in self.passwords[domain]:
            reason = b"Invalid username"
        elif not self._zm_same(password, self.passwords[domain][username]):
            reason = b"Invalid password"
        else:
            self.log.debug("ALLOWED (PLAIN) domain=%s username=%r", domain, username)
            return True, b""
        self.log.debug("DENIED (PLAIN) %s", reason.decode())
        return False, reason

    def _zm_same(self, given: str, expected: str) -> bool:
        """Compares passwords, in a time that does not tell where they differ."""
        return hmac.compare_digest(
            given.encode(self.encoding, "surrogateescape"),
            expected.encode(self.encoding, "surrogateescape"),
        )

    async def _authenticate_curve(self, domain: str, client_key: bytes) -> tuple[bool, bytes]:
        domain = domain or _ANY_DOMAIN
        if self.allow_any:
            self.log.debug("ALLOWED (CURVE allow any client)")
            return True, b""
        key = z85.encode(client_key)
        if domain in self.credentials_providers:
            answer = self.credentials_providers[domain].callback(domain, key)
            allowed = bool(await answer if isinstance(answer, Awaitable) else answer)
            how = "CURVE auth_callback"
        elif domain in self.certs:
            allowed = bool(self.certs[domain].get(key))
            how = "CURVE"
        else:
            return False, b"Unknown domain"
        verdict = "ALLOWED" if allowed else "DENIED"
        self.log.debug("%s (%s) domain=%s client_key=%s", verdict, how, domain, key.decode())
        return allowed, b"" if allowed else b"Unknown key"

    def _authenticate_gssapi(self, domain: str, principal: bytes) -> tuple[bool, bytes]:
        self.log.debug("ALLOWED (GSSAPI) domain=%s principal=%r", domain, principal)
        return True, b""

    def _send_zap_reply(
        self, request_id: bytes, status_code: bytes, status_text: bytes, user_id: str = ""
    ) -> None:
        self.log.debug("ZAP reply code=%r text=%r", status_code, status_text)
        assert self.zap_socket is not None, "not started"
        self.zap_socket.send_multipart(
            [
                VERSION,
                request_id,
                status_code,
                status_text,
                user_id.encode(self.encoding, "surrogateescape"),
                b"",
            ]
        )
