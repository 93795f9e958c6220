"""SOCKS_PROXY (S-107): a tcp connect goes through the proxy, or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from support import TIMEOUT, port_of


class MockProxy:
    """A SOCKS5 proxy for one connection: notes what it is asked, then passes bytes on."""

    def __init__(self, password: tuple[bytes, bytes] | None = None, answer: int = 0):
        self.password, self.answer = password, answer
        self.asked: list[tuple] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(TIMEOUT)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self) -> MockProxy:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.thread.join(TIMEOUT)
        self.listener.close()
        assert not self.thread.is_alive()

    def _exactly(self, s: socket.socket, n: int) -> bytes:
        data = b""
        while len(data) < n:
            piece = s.recv(n - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client:
                    client.settimeout(TIMEOUT)
                    self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        version, count = self._exactly(client, 2)
        methods = self._exactly(client, count)
        assert version == 5
        wanted = 2 if self.password else 0
        if wanted not in methods:
            client.sendall(b"\x05\xff")
            return
        client.sendall(bytes([5, wanted]))
        if self.password:
            assert self._exactly(client, 1) == b"\x01"
            user = self._exactly(client, self._exactly(client, 1)[0])
            password = self._exactly(client, self._exactly(client, 1)[0])
            good = (user, password) == self.password
            client.sendall(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                self.asked.append(("refused", user, password))
                return
        _, command, _, kind = self._exactly(client, 4)
        if kind == 3:
            host = self._exactly(client, self._exactly(client, 1)[0]).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, self._exactly(client, 4 if kind == 1 else 16))
        port = int.from_bytes(self._exactly(client, 2), "big")
        self.asked.append((command, kind, host, port))
        client.sendall(bytes([5, self.answer, 0, 1, 0, 0, 0, 0, 0, 0]))
        if self.answer:
            return
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as server:
            back = threading.Thread(target=self._copy, args=(server, client))
            back.start()
            self._copy(client, server)
            back.join(TIMEOUT)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("host, kind", [("127.0.0.1", 1), ("localhost", 3)])
def test_a_connect_goes_through_the_proxy(zmq, make, host, kind):
    """S-107: an address is passed as such, a name for the proxy to look up."""
    pull = make(zmq.PULL)
    pull.bind("tcp://127.0.0.1:*")
    with MockProxy() as proxy:
        with make(zmq.PUSH, socks_proxy=proxy.address.encode()) as push:
            push.connect(f"tcp://{host}:{port_of(pull)}")
            push.send_multipart([b"by", b"proxy", bytes(100_000)])
            assert pull.recv_multipart() == [b"by", b"proxy", bytes(100_000)]
        assert proxy.asked == [(1, kind, host, port_of(pull))]


@pytest.mark.parametrize("password, enters", [(b"open sesame", True), (b"wrong", False)])
def test_a_name_and_password_are_given_when_there_are_some(zmq, make, password, enters, on_libzmq):
    """S-107: method 2, RFC 1929; a refusal is tried again, as a refused connect is."""
    if on_libzmq and not enters:
        pytest.skip("libzmq 4.3.5 aborts when a proxy refuses the password")
    pull = make(zmq.PULL, rcvtimeo=10_000 if enters else 300)
    pull.bind("tcp://127.0.0.1:*")
    with MockProxy(password=(b"ali", b"open sesame")) as proxy:
        push = make(zmq.PUSH, socks_proxy=proxy.address.encode(), reconnect_ivl=20)
        push.setsockopt(99, b"ali")  # SOCKS_USERNAME
        push.setsockopt(100, password)
        with push:
            push.connect(f"tcp://127.0.0.1:{port_of(pull)}")
            push.send(b"x")
            if enters:
                assert pull.recv() == b"x"
            else:
                with pytest.raises(zmq.Again):
                    pull.recv()
        assert (("refused", b"ali", password) in proxy.asked) != enters


def test_what_the_proxy_refuses_is_tried_again(zmq, make):
    """S-107: and never goes round the proxy."""
    pull = make(zmq.PULL, rcvtimeo=300)
    pull.bind("tcp://127.0.0.1:*")
    with MockProxy(answer=5) as proxy:
        with make(zmq.PUSH, socks_proxy=proxy.address.encode(), reconnect_ivl=20) as push:
            push.connect(f"tcp://127.0.0.1:{port_of(pull)}")
            with pytest.raises(zmq.Again):
                pull.recv()
        assert len(proxy.asked) > 1
