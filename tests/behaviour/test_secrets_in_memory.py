"""Where keys and passwords are in a process's memory while it works, and that they go.

A child process works; this one, its parent, looks through all of its memory (proc(5): mem, smaps).
"""

from __future__ import annotations

import os
import re

import pytest
from support import Child, module_source
from support.security import CLIENT, SERVER

pytestmark = pytest.mark.skipif(
    "san.so" in os.environ.get("LD_PRELOAD", ""), reason="sanitizers keep freed memory"
)

USER, PASSWORD = b"somebody", b"xyzzy-plugh-plover-42"
MASK = 0x5A

#: `erase` leaves no trace of a bytes object; `unmask` makes one that was never said before.
HELPERS = """
import ctypes, gc, sys, threading
def erase(text):
    ctypes.memset(id(text) + bytes.__basicsize__ - 1, 0, len(text))
def unmask(masked):
    buffer = bytearray.fromhex(masked)
    for i, byte in enumerate(buffer):
        buffer[i] = byte ^ 0x5A
    text = bytes(buffer)
    buffer[:] = b"-" * len(buffer)
    return text
def pause(line):
    print(line, flush=True)
    assert sys.stdin.readline()
ctx = zmq.Context()
"""


@pytest.fixture(autouse=True)
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("libzmq keeps them")


def found_in(pid: int, needle: bytes) -> list[list[str]]:
    """For each place in the process's writable memory that holds ``needle``: its VmFlags."""
    regions, places = [], []
    with open(f"/proc/{pid}/smaps") as maps:
        for line in maps:
            if region := re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S+)", line):
                regions.append((int(region[1], 16), int(region[2], 16), []))
            elif line.startswith("VmFlags:"):
                regions[-1][2].extend(line.split()[1:])
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, flags in regions:
            if "wr" not in flags:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except OSError:
                continue
            places += [flags for _ in re.finditer(re.escape(needle), content)]
    return places


class Worker(Child):
    def look_for(self, needle: bytes) -> list[list[str]]:
        try:
            return found_in(self.process.pid, needle)
        except PermissionError:
            pytest.skip("this system lets no parent see its child's memory")

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def masked(text: bytes) -> str:
    return bytes(byte ^ MASK for byte in text).hex()


CURVE_WORK = """
server, client = ctx.socket(zmq.PULL), ctx.socket(zmq.PUSH)
for s in (server, client):
    s.rcvtimeo = s.sndtimeo = 30_000
server.curve_secretkey = sys.argv[2].encode()
server.curve_server = True
client.curve_publickey, client.curve_secretkey = sys.argv[3].encode(), sys.argv[4].encode()
client.curve_serverkey = sys.argv[1].encode()
server.bind("tcp://127.0.0.1:*")
client.connect(server.LAST_ENDPOINT)
client.send(b"x")
assert server.recv() == b"x"
pause("connected")
ctx.destroy(linger=0)
pause("closed")
"""


def test_secret_keys_are_in_locked_memory_and_nowhere_when_all_is_closed(zmq):
    """The 32 bytes of them: what Python says of them is text."""
    from importlib import import_module

    z85 = import_module(f"{zmq.__name__}.utils.z85")
    secrets = [z85.decode(pair[1]) for pair in (SERVER, CLIENT)]
    keys = [key.decode() for key in (*SERVER, *CLIENT)]
    with Worker(module_source(zmq) + HELPERS + CURVE_WORK, *keys) as worker:
        assert worker.line() == "connected"
        for secret in secrets:
            places = worker.look_for(secret)
            assert places
            assert all("lo" in flags and "dd" in flags for flags in places), places
        worker.go_on()
        assert worker.line() == "closed"
        for secret in secrets:
            assert worker.look_for(secret) == []
            assert worker.look_for(secret[4:28]) == []  # clamped, as the curve wants it


PLAIN_CLIENT = """
client = ctx.socket(zmq.PUSH)
password = unmask(sys.argv[2])
client.plain_username, client.plain_password = b"somebody", password
erase(password)
client.sndtimeo = 30_000
client.connect(sys.argv[1])
client.send(b"x")
pause("sent")
client.close(linger=0)
ctx.term()
pause("closed")
"""

PLAIN_SERVER = """
wanted = unmask(sys.argv[1])
digest = hash(wanted)
erase(wanted)
def answer():
    handler = ctx.socket(zmq.REP)
    handler.bind("inproc://zeromq.zap.01")
    started.set()
    question = handler.recv_multipart()
    good = hash(question[-1]) == digest
    erase(question[-1])
    status = b"200" if good else b"400"
    handler.send_multipart([b"1.0", question[1], status, b"", b"", b""])
    handler.close()
started = threading.Event()
thread = threading.Thread(target=answer)
thread.start()
started.wait()
server = ctx.socket(zmq.PULL)
server.rcvtimeo = 30_000
server.plain_server = True
server.bind("tcp://127.0.0.1:*")
print(server.LAST_ENDPOINT.decode(), flush=True)
assert server.recv() == b"x"
thread.join()
pause("received")
ctx.destroy(linger=0)
"""


def test_a_password_is_nowhere_once_it_has_been_used(zmq):
    """At the client it is in the options as long as there are any, for the next connection; at the
    server nowhere as soon as the handler has seen it."""
    source = module_source(zmq) + HELPERS
    with Worker(source + PLAIN_SERVER, masked(PASSWORD)) as server:
        endpoint = server.line()
        with Worker(source + PLAIN_CLIENT, endpoint, masked(PASSWORD)) as client:
            assert client.line() == "sent"
            assert server.line() == "received"
            assert server.look_for(PASSWORD) == []
            assert len(client.look_for(PASSWORD)) == 2  # the socket's options, its endpoint's
            client.go_on()
            assert client.line() == "closed"
            assert client.look_for(PASSWORD) == []
