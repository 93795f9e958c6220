"""Two web servers that Debian ships, and that ask a handler over ZeroMQ for each answer. The
handler is ours, and has loaded the same library with ctypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

REQUESTS = 50
SECONDS = 20
REP, PULL, XPUB, RCVTIMEO = 4, 7, 9, 27
TICK_MS = 100
LIBRARIES = "usr/lib/x86_64-linux-gnu"
MONGREL = """
main = Server(uuid="{uuid}", access_log="/logs/access.log", error_log="/logs/error.log",
    chroot="./", default_host="localhost", name="test", pid_file="/run/mongrel2.pid",
    bind_addr="127.0.0.1", port={port}, hosts=[Host(name="localhost", routes={{'/': Handler(
        send_spec='{send}', send_ident='{uuid}', recv_spec='{receive}', recv_ident='')}})])
servers = [main]
settings = {{"server.daemonize": 0}}
"""
UUID = "f400bf85-4538-4f7a-8908-67e313d515c2"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Handler:
    """Sockets of a library, by ctypes; ``answer`` runs in a thread until the end."""

    def __init__(self, library: Path, answer: Callable[[Handler], None]) -> None:
        self._zmq = ctypes.CDLL(str(library / "libzmq.so.5"))
        self._zmq.zmq_ctx_new.restype = self._zmq.zmq_socket.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._zmq.zmq_ctx_new())
        self._sockets: list[ctypes.c_void_p] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=answer, args=(self,))

    def __enter__(self) -> Handler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for s in self._sockets:
            self._zmq.zmq_close(s)
        self._zmq.zmq_ctx_term(self._context)

    def connect(self, kind: int, endpoint: str) -> ctypes.c_void_p:
        s = ctypes.c_void_p(self._zmq.zmq_socket(self._context, kind))
        tick = ctypes.c_int(TICK_MS)
        self._zmq.zmq_setsockopt(s, RCVTIMEO, ctypes.byref(tick), ctypes.c_size_t(4))
        assert self._zmq.zmq_connect(s, endpoint.encode()) == 0
        self._sockets.append(s)
        return s

    def receive(self, s: ctypes.c_void_p) -> bytes:
        """A message; b"": it is time to end."""
        buffer = ctypes.create_string_buffer(10_000)
        while not self._ended.is_set():
            size = self._zmq.zmq_recv(s, buffer, ctypes.c_size_t(len(buffer)), 0)
            if size >= 0:
                return buffer.raw[:size]
        return b""

    def send(self, s: ctypes.c_void_p, data: bytes) -> None:
        assert self._zmq.zmq_send(s, data, ctypes.c_size_t(len(data)), 0) == len(data)


def ask(url: str, process: subprocess.Popen[bytes]) -> str:
    """The requests; "" or what is wrong."""
    ends = time.monotonic() + SECONDS
    for i in range(REQUESTS):
        while True:
            try:
                with urllib.request.urlopen(f"{url}/{i}", timeout=SECONDS) as response:
                    body = response.read()
                break
            except urllib.error.URLError as error:
                # It has just been started.
                refused = isinstance(error.reason, ConnectionRefusedError)
                if i or not refused or time.monotonic() > ends or process.poll() is not None:
                    return f"request {i}: {error}"
                time.sleep(0.05)
            except OSError as error:
                return f"request {i}: {error}"
        if body != b"answer to /%d" % i:
            return f"request {i} was answered with {body[:100]!r}"
    return ""


def serve(
    command: list[str | Path], port: int, where: Path, variables: dict[str, str], handler: Handler
) -> str:
    """Starts the server, and asks it; "" or what is wrong."""
    with handler, (where / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=where, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            wrong = ask(f"http://127.0.0.1:{port}", process)
            process.terminate()
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            return "did not end"
        finally:
            process.kill()
            process.wait()
    return wrong or (f"ended with {code}" if code else "")


def prepared(name: str, debian: Path, work: Path, library: Path) -> tuple[Path, dict[str, str]]:
    """An empty directory for a server, and its environment."""
    where = work / "servers" / name
    shutil.rmtree(where, ignore_errors=True)
    for directory in ("logs", "run", "tmp"):
        (where / directory).mkdir(parents=True)
    path = f"{library}:{debian / LIBRARIES}"
    return where, {**os.environ, "LD_LIBRARY_PATH": path, "LOGNAME": "nobody"}


def mongrel2(debian: Path, work: Path, library: Path) -> dict[str, str]:
    where, variables = prepared("mongrel2", debian, work, library)
    # Run by root it goes into a chroot, where libzmq's tweetnacl waits until it can read this.
    (where / "dev").mkdir()
    (where / "dev" / "urandom").write_bytes(os.urandom(1 << 16))
    port, send, receive = free_port(), *(f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    text = MONGREL.format(uuid=UUID, port=port, send=send, receive=receive)
    (where / "test.conf").write_text(text, encoding="utf-8")
    binaries = debian / "usr" / "bin"
    loaded = subprocess.run(
        [binaries / "m2sh", "load", "-config", "test.conf", "-db", "test.sqlite"],
        cwd=where,
        env=variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if loaded.returncode:
        return {"mongrel2": f"m2sh: {loaded.stdout}{loaded.stderr}"}

    def answer(handler: Handler) -> None:
        pull, pub = handler.connect(PULL, send), handler.connect(XPUB, receive)
        handler.receive(pub)  # its subscription: before that an answer would be dropped
        while request := handler.receive(pull):
            server, number, path, _ = request.split(b" ", 3)
            if path == b"@*":
                continue  # a client has left
            body = b"answer to " + path
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            handler.send(pub, b"%s %d:%s, %s%s" % (server, len(number), number, head, body))

    command = [binaries / "mongrel2", "test.sqlite", UUID]
    return {"mongrel2": serve(command, port, where, variables, Handler(library, answer))}


def condure(debian: Path, work: Path, library: Path) -> dict[str, str]:
    where, variables = prepared("condure", debian, work, library)
    port, endpoint = free_port(), f"ipc://{where}/client"

    def text(value: bytes) -> bytes:
        return b"%d:%s," % (len(value), value)

    def after(name: bytes, request: bytes) -> bytes:
        """The value of a field, in netstrings with types."""
        rest = request[request.index(text(name)) + len(text(name)) :]
        size, rest = rest.split(b":", 1)
        return rest[: int(size)]

    def answer(handler: Handler) -> None:
        rep = handler.connect(REP, endpoint)
        while request := handler.receive(rep):
            path = b"/" + after(b"uri", request).rsplit(b"/", 1)[1]
            fields = text(b"id") + text(after(b"id", request))
            fields += text(b"code") + b"3:200#" + text(b"reason") + text(b"OK")
            fields += text(b"headers") + b"0:]" + text(b"body") + text(b"answer to " + path)
            handler.send(rep, b"T%d:%s}" % (len(fields), fields))

    command: list[str | Path] = [debian / "usr" / "bin" / "condure"]
    command += ["--listen", f"127.0.0.1:{port},req", "--zclient-req", endpoint]
    return {"condure": serve(command, port, where, variables, Handler(library, answer))}
