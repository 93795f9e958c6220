"""zmq.auth: the rules of authenticators, those that run by themselves, certificates.

Rules are tested on `handle_zap_message` alone, with a stand-in for the socket; the engine's side
of ZAP has its own tests, and a few here go all the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import stat
import threading
import warnings

import pytest
from support import TIMEOUT


@pytest.fixture
def auth(zmq):
    return importlib.import_module(f"{zmq.__name__}.auth")


@pytest.fixture
def z85(zmq):
    return importlib.import_module(f"{zmq.__name__}.utils.z85")


class Replies(list):
    """A stand-in for the socket: keeps what is sent."""

    def send_multipart(self, parts, *args):
        self.append(parts)


@pytest.fixture
def authenticator(auth, ctx):
    authenticator = auth.Authenticator(ctx)
    authenticator.zap_socket = Replies()
    return authenticator


def ask(authenticator, mechanism, *credentials, domain="", address="127.0.0.1"):
    """Status, text and user id of the answer to one request."""
    request = [b"1.0", b"7", domain.encode(), address.encode(), b"me", mechanism, *credentials]
    asyncio.run(authenticator.handle_zap_message(request))
    version, request_id, status, text, user_id, metadata = authenticator.zap_socket.pop()
    assert (version, request_id, metadata) == (b"1.0", b"7", b"")
    return int(status), text.decode(), user_id.decode()


# --- rules ----------------------------------------------------------------------------------------


def test_without_rules_only_null_is_allowed(authenticator):
    assert ask(authenticator, b"NULL") == (200, "OK", "anonymous")
    assert ask(authenticator, b"PLAIN", b"u", b"p")[:2] == (400, "No passwords defined")
    assert ask(authenticator, b"CURVE", bytes(32))[:2] == (400, "Unknown domain")
    assert ask(authenticator, b"TLS")[:2] == (400, "NO ACCESS")


@pytest.mark.parametrize("mechanism", [b"NULL", b"PLAIN"])
def test_addresses_come_before_mechanisms(authenticator, mechanism):
    authenticator.configure_plain("*", {"u": "p"})
    credentials = [b"u", b"p"] if mechanism == b"PLAIN" else []
    authenticator.allow("10.0.0.1", "10.0.0.2")
    assert ask(authenticator, mechanism, *credentials, address="10.0.0.2")[0] == 200
    assert ask(authenticator, mechanism, *credentials, address="10.0.0.3")[:2] == (
        400,
        "Address not allowed",
    )


def test_denied_addresses_are_kept_out_and_others_are_not(authenticator):
    authenticator.deny("10.0.0.1")
    assert ask(authenticator, b"NULL", address="10.0.0.1")[:2] == (400, "Address denied")
    assert ask(authenticator, b"NULL", address="10.0.0.2")[0] == 200


def test_allow_and_deny_exclude_each_other(auth, ctx):
    one, other = auth.Authenticator(ctx), auth.Authenticator(ctx)
    one.allow("1.1.1.1")
    with pytest.raises(ValueError):
        one.deny("1.1.1.2")
    other.deny("1.1.1.1")
    with pytest.raises(ValueError):
        other.allow("1.1.1.2")


@pytest.mark.parametrize(
    ("domain", "user", "password", "expected"),
    [
        ("", b"any", b"one", (200, "OK", "any")),
        ("d", b"mine", "zwö".encode(), (200, "OK", "mine")),
        ("d", b"any", b"one", (400, "Invalid username", "")),
        ("d", b"mine", b"wrong", (400, "Invalid password", "")),
        ("d", b"mine", b"", (400, "Invalid password", "")),
        ("other", b"any", b"one", (400, "Invalid domain", "")),
    ],
)
def test_plain_looks_up_domain_user_and_password(authenticator, domain, user, password, expected):
    authenticator.configure_plain("*", {"any": "one"})
    authenticator.configure_plain("d", {"mine": "zwö"})
    assert ask(authenticator, b"PLAIN", user, password, domain=domain) == expected


def test_different_bytes_are_never_the_same_password(authenticator, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq decodes with replacement: all bytes that are no UTF-8 are equal")
    authenticator.configure_plain("*", {"u": "\ufffd"})
    assert ask(authenticator, b"PLAIN", b"u", b"\xff")[0] == 400
    assert ask(authenticator, b"PLAIN", b"u", "\ufffd".encode())[0] == 200


def test_passwords_may_be_changed_later(authenticator):
    passwords = {"u": "old"}
    authenticator.configure_plain("*", passwords)
    passwords["u"] = "new"
    assert ask(authenticator, b"PLAIN", b"u", b"old")[0] == 400
    assert ask(authenticator, b"PLAIN", b"u", b"new")[0] == 200


def test_curve_knows_the_keys_of_a_directory(auth, authenticator, z85, tmp_path):
    public, _ = auth.load_certificate(auth.create_certificates(tmp_path, "client")[0])
    authenticator.configure_curve("*", tmp_path)
    assert ask(authenticator, b"CURVE", z85.decode(public)) == (200, "OK", public.decode())
    assert ask(authenticator, b"CURVE", bytes(32))[:2] == (400, "Unknown key")
    assert ask(authenticator, b"CURVE", z85.decode(public), domain="other")[:2] == (
        400,
        "Unknown domain",
    )


def test_curve_may_allow_any_key_until_it_is_configured_otherwise(auth, authenticator, tmp_path):
    authenticator.configure_curve("*", auth.CURVE_ALLOW_ANY)
    assert ask(authenticator, b"CURVE", bytes(32), domain="any")[0] == 200
    authenticator.configure_curve("*", tmp_path)
    assert ask(authenticator, b"CURVE", bytes(32))[0] == 400


def test_a_directory_that_is_not_there_lets_nobody_in(authenticator, tmp_path, caplog):
    authenticator.configure_curve("*", tmp_path / "missing")
    assert "missing" in caplog.text
    assert ask(authenticator, b"CURVE", bytes(32))[0] == 400


class Provider:
    """Answers with what it was given, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def callback(self, domain, key):
        self.asked.append((domain, key))
        return self.answer


class AsyncProvider(Provider):
    async def callback(self, domain, key):
        await asyncio.sleep(0)
        return super().callback(domain, key)


@pytest.mark.parametrize("kind", [Provider, AsyncProvider])
@pytest.mark.parametrize(("answer", "status"), [(True, 200), (False, 400), (None, 400)])
def test_a_callback_decides_on_curve_keys(authenticator, z85, kind, answer, status):
    provider = kind(answer)
    authenticator.configure_curve_callback("d", provider)
    assert ask(authenticator, b"CURVE", bytes(range(32)), domain="d")[0] == status
    assert provider.asked == [("d", z85.encode(bytes(range(32))))]


def test_a_callback_that_raises_is_logged_and_answered(authenticator, caplog, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq's handler ends")

    class Broken:
        def callback(self, domain, key):
            raise KeyError("on purpose")

    authenticator.configure_curve_callback("*", Broken())
    assert ask(authenticator, b"CURVE", bytes(32))[0] == 500
    assert "on purpose" in caplog.text
    assert ask(authenticator, b"NULL")[0] == 200


def test_no_callback_is_no_permission(authenticator, caplog):
    authenticator.configure_curve_callback("*", None)
    assert ask(authenticator, b"CURVE", bytes(32))[0] == 400
    assert "credentials_provider" in caplog.text


def test_a_user_id_may_be_made_otherwise(auth, ctx):
    class Mine(auth.Authenticator):
        def curve_user_id(self, client_public_key):
            return f"user-{client_public_key[0]}"

    authenticator = Mine(ctx)
    authenticator.zap_socket = Replies()
    authenticator.configure_curve("*", auth.CURVE_ALLOW_ANY)
    assert ask(authenticator, b"CURVE", bytes([5]) * 32)[2] == "user-5"


@pytest.mark.parametrize(
    ("mechanism", "credentials"),
    [(b"PLAIN", [b"u"]), (b"PLAIN", [b"u", b"p", b"x"]), (b"CURVE", []), (b"GSSAPI", [])],
)
def test_a_wrong_number_of_credentials_is_refused(authenticator, mechanism, credentials):
    assert ask(authenticator, mechanism, *credentials)[:2] == (400, "Invalid credentials")


@pytest.mark.parametrize(
    ("request_parts", "text"),
    [
        ([b"1.0", b"7"], b"Not enough frames"),
        ([b"1.0", b"7", b"", b"", b""], b"Not enough frames"),
        ([b"2.0", b"7", b"", b"", b"", b"NULL"], b"Invalid version"),
    ],
)
def test_a_malformed_request_is_answered(authenticator, request_parts, text):
    asyncio.run(authenticator.handle_zap_message(request_parts))
    assert authenticator.zap_socket == [[b"1.0", b"7", b"400", text, b"", b""]]


def test_nothing_secret_is_logged(authenticator, caplog, on_libzmq):
    """Every way that a password can take, with the logger at its most talkative."""
    if on_libzmq:
        pytest.skip("pyzmq logs passwords")
    caplog.set_level(logging.DEBUG)
    authenticator.configure_plain("*", {"u": "hunter2", "v": "swordfish"})
    for credentials in (
        [b"u", b"hunter2"],
        [b"u", b"hunter3"],
        [b"w", b"hunter2"],
        [b"u", b"hunter2", b"more"],
        [b"hunter2"],
    ):
        ask(authenticator, b"PLAIN", *credentials)
    for request in (
        [b"2.0", b"7", b"", b"", b"", b"PLAIN", b"u", b"hunter2"],
        [b"1.0", b"7", b"hunter2"],
    ):
        asyncio.run(authenticator.handle_zap_message(request))
    assert "PLAIN" in caplog.text
    for secret in ("hunter2", "hunter3", "swordfish"):
        assert secret not in caplog.text


# --- those that run -------------------------------------------------------------------------------


@contextlib.contextmanager
def running_in_a_thread(zmq, auth, context):
    thread = importlib.import_module(f"{zmq.__name__}.auth.thread")
    authenticator = thread.ThreadAuthenticator(context)
    authenticator.start()
    try:
        yield authenticator
    finally:
        authenticator.stop()


@contextlib.contextmanager
def running_in_a_loop(zmq, auth, context):
    """An AsyncioAuthenticator, its loop in a thread, so that the test may block."""
    module = importlib.import_module(f"{zmq.__name__}.auth.asyncio")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def there(function):
        async def call():
            return function()

        return asyncio.run_coroutine_threadsafe(call(), loop).result(TIMEOUT)

    authenticator = there(lambda: module.AsyncioAuthenticator(context))
    there(authenticator.start)
    try:
        yield authenticator
    finally:
        there(authenticator.stop)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(TIMEOUT)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT)
        loop.close()


@pytest.fixture(params=[running_in_a_thread, running_in_a_loop])
def running(request, zmq, auth, ctx):
    with request.param(zmq, auth, ctx) as authenticator:
        yield authenticator


def passes(zmq, server, client, within: int = 10_000) -> bool:
    """Does a message get from the client to the server?"""
    server.bind("tcp://127.0.0.1:*")
    client.connect(server.last_endpoint.decode())
    client.send(b"in", zmq.DONTWAIT)
    return bool(server.poll(within)) and server.recv() == b"in"


#: Long enough for a handshake here, in ms; a refusal is the absence of a message.
A_WHILE = 400


@pytest.mark.parametrize(("password", "expected"), [("right", True), ("wrong", False)])
def test_an_authenticator_decides_on_plain(zmq, running, make, password, expected):
    running.configure_plain("*", {"user": "right"})
    server = make(zmq.PULL, plain_server=True)
    client = make(zmq.PUSH)
    client.plain_username, client.plain_password = b"user", password.encode()
    assert passes(zmq, server, client, 10_000 if expected else A_WHILE) is expected


@pytest.mark.parametrize("known", [True, False])
def test_an_authenticator_decides_on_curve(zmq, auth, running, make, tmp_path, known):
    if not zmq.has("curve"):
        pytest.skip("the engine has no CURVE")
    public, secret = auth.load_certificate(auth.create_certificates(tmp_path, "client")[1])
    directory = tmp_path if known else tmp_path / "empty"
    directory.mkdir(exist_ok=True)
    running.configure_curve("*", directory)
    server_public, server_secret = zmq.curve_keypair()
    server = make(zmq.PULL, curve_server=True, curve_secretkey=server_secret)
    client = make(
        zmq.PUSH, curve_serverkey=server_public, curve_publickey=public, curve_secretkey=secret
    )
    assert passes(zmq, server, client, 10_000 if known else A_WHILE) is known


def test_the_user_id_of_a_message_is_what_the_authenticator_said(zmq, running, make):
    running.configure_plain("*", {"user": "right"})
    server = make(zmq.PULL, plain_server=True)
    client = make(zmq.PUSH)
    client.plain_username, client.plain_password = b"user", b"right"
    server.bind("tcp://127.0.0.1:*")
    client.connect(server.last_endpoint.decode())
    client.send(b"x")
    assert server.recv(copy=False).get("User-Id") == "user"


def test_an_async_callback_runs_in_the_authenticators_loop(zmq, running, make):
    if not zmq.has("curve"):
        pytest.skip("the engine has no CURVE")
    provider = AsyncProvider(True)
    running.configure_curve_callback("*", provider)
    server_public, server_secret = zmq.curve_keypair()
    public, secret = zmq.curve_keypair()
    server = make(zmq.PULL, curve_server=True, curve_secretkey=server_secret)
    client = make(
        zmq.PUSH, curve_serverkey=server_public, curve_publickey=public, curve_secretkey=secret
    )
    assert passes(zmq, server, client)
    assert provider.asked == [("*", public)]


def test_a_context_has_one_handler(zmq, auth, running, ctx, on_libzmq):
    second = auth.Authenticator(ctx)
    with pytest.raises(zmq.ZMQError) as info:
        second.start()
    assert info.value.errno == zmq.EADDRINUSE
    second.stop()


def test_an_authenticator_may_be_started_and_stopped_again(zmq, auth, ctx, make):
    for kind in (running_in_a_thread, running_in_a_loop):
        for _ in range(2):
            with kind(zmq, auth, ctx) as authenticator:
                assert authenticator.zap_socket.type == zmq.REP
            assert authenticator.zap_socket is None
            authenticator.stop()


def test_a_thread_authenticator_is_alive_while_it_runs(zmq, ctx):
    thread = importlib.import_module(f"{zmq.__name__}.auth.thread")
    authenticator = thread.ThreadAuthenticator(ctx)
    assert not authenticator.is_alive()
    authenticator.start()
    started = authenticator.thread
    assert authenticator.is_alive()
    assert started.daemon
    authenticator.stop()
    assert not authenticator.is_alive()
    assert not started.is_alive()
    assert authenticator.pipe is None


def test_the_end_of_the_context_ends_the_thread(zmq, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq's sockets stay open, and term() waits")
    module = importlib.import_module(f"{zmq.__name__}.auth.thread")
    context = zmq.Context()
    authenticator = module.ThreadAuthenticator(context)
    authenticator.start()
    thread = authenticator.thread
    authenticator.pipe.close()
    context.term()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    authenticator.stop()


def test_a_loop_argument_is_deprecated(zmq, ctx):
    module = importlib.import_module(f"{zmq.__name__}.auth.asyncio")
    loop = asyncio.new_event_loop()
    try:
        with pytest.warns(DeprecationWarning):
            module.AsyncioAuthenticator(ctx, loop=loop)
    finally:
        loop.close()


def test_the_authenticator_for_tornado_is_that_for_asyncio(zmq, ctx):
    pytest.importorskip("tornado")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(f"{zmq.__name__}.auth.ioloop")
    base = importlib.import_module(f"{zmq.__name__}.auth.asyncio").AsyncioAuthenticator

    async def use():
        authenticator = module.IOLoopAuthenticator(ctx)
        assert isinstance(authenticator, base)
        authenticator.start()
        authenticator.stop()

    asyncio.run(use())


def test_the_socket_is_a_plain_one_in_an_asyncio_context(zmq, auth):
    aio = importlib.import_module(f"{zmq.__name__}.asyncio")
    context = aio.Context()
    authenticator = auth.Authenticator(context)
    authenticator.start()
    assert type(authenticator.zap_socket) is zmq.Socket
    authenticator.stop()
    context.term()


# --- certificates ---------------------------------------------------------------------------------


def test_certificates_are_written_and_read(auth, tmp_path):
    public_path, secret_path = auth.create_certificates(tmp_path, "name", {"email": "é@x"})
    assert public_path == os.path.join(tmp_path, "name.key")
    assert secret_path == os.path.join(tmp_path, "name.key_secret")
    public, nothing = auth.load_certificate(public_path)
    assert nothing is None
    same, secret = auth.load_certificate(secret_path)
    assert same == public
    assert (len(public), len(secret)) == (40, 40)
    assert public != secret
    with open(secret_path, encoding="utf-8") as file:
        assert "email = é@x" in file.read()
    with open(public_path, encoding="utf-8") as file:
        assert secret.decode() not in file.read()


def test_the_two_keys_belong_together(zmq, auth, tmp_path):
    public, secret = auth.load_certificate(auth.create_certificates(tmp_path, "name")[1])
    assert zmq.curve_public(secret) == public


def test_a_secret_file_is_for_its_owner_only(auth, tmp_path, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq leaves it to the umask")
    before = os.umask(0)
    try:
        _, secret_path = auth.create_certificates(tmp_path, "name")
        # One that others could read, or have open, is replaced and not written over.
        os.chmod(secret_path, 0o666)
        with open(secret_path) as old:
            auth.create_certificates(tmp_path, "name")
            assert auth.load_certificate(secret_path)[1].decode() not in old.read()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(secret_path).st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["name.key", "name.key_secret"]


def test_all_public_keys_of_a_directory_are_loaded(auth, tmp_path):
    paths = [auth.create_certificates(tmp_path, name)[0] for name in ("a", "b")]
    (tmp_path / "other.txt").write_text("no key")
    assert auth.load_certificates(tmp_path) == {
        auth.load_certificate(path)[0]: True for path in paths
    }


def test_what_is_no_certificate_is_an_error(auth, tmp_path):
    with pytest.raises(OSError):
        auth.load_certificate(tmp_path / "missing")
    with pytest.raises(OSError):
        auth.load_certificates(tmp_path / "missing")
    (tmp_path / "bad.key").write_text("metadata\n    name = x\n")
    with pytest.raises(ValueError):
        auth.load_certificate(tmp_path / "bad.key")
    with pytest.raises(ValueError):
        auth.load_certificates(tmp_path)
    with pytest.raises(OSError):
        auth.create_certificates(tmp_path / "missing", "name")


@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_a_certificate_may_be_written_by_hand(auth, tmp_path, quote):
    key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
    path = tmp_path / "hand.key"
    path.write_text(f"# public-key = no\n\ncurve\n\tpublic-key={quote}{key}{quote}\n")
    assert auth.load_certificate(path) == (key.encode(), None)
