"""Where types went wrong once, or could: options, unions, futures, submodules. Lines that end in
"wrong" are to be found by type checkers, and no others."""

from __future__ import annotations

import asyncio
from typing import Union

import zmq
import zmq.asyncio
import zmq.auth.thread
import zmq.devices
import zmq.utils.monitor

OptVal = Union[str, bytes, int]  # what pyzmq's options are


def options(ctx: zmq.Context[zmq.Socket[bytes]], s: zmq.Socket[bytes]) -> None:
    s.linger = s.LINGER = 0
    s.router_mandatory = True
    s.identity = b"me"
    s.ROUTING_ID = b"me"
    s.hwm = 10
    ctx.linger = 0
    ctx.sndhwm = 10
    ctx.max_sockets = 4096
    ctx.IO_THREADS = 2
    reveal_type(s.rcvmore)
    reveal_type(s.last_endpoint)
    reveal_type(ctx.io_threads)
    reveal_type(s.hwm)
    general: OptVal = s.linger
    assert isinstance(general, int)
    s.linger = s.getsockopt(zmq.LINGER)
    s.curve_secretkey = zmq.auth.load_certificate("file")[1]
    s.lingr = 0  # wrong
    s.linger = "zero"  # wrong
    s.identity = "me"  # wrong
    ctx.lingr = 0  # wrong
    print(s.lingr)  # wrong
    print(ctx.io_thread)  # wrong
    s.set(zmq.LINGER, "zero")  # wrong
    s.setsockopt(zmq.LINGER, None)  # wrong


def messages(s: zmq.Socket[bytes]) -> None:
    s.send(bytearray(b"x"))
    s.send(memoryview(b"x"))
    s.send(zmq.Frame(b"x"))
    s.send_multipart([b"a", zmq.Frame(b"b"), memoryview(b"c")])
    s.send_multipart((b"a",), zmq.SNDMORE)
    reveal_type(s.recv(0, False))
    reveal_type(s.recv_multipart(zmq.DONTWAIT, False))
    reveal_type(s.recv_serialized(lambda parts: len(parts)))
    reveal_type(zmq.Frame(b"x").get(zmq.MORE))
    reveal_type(zmq.Frame(b"x")["User-Id"])
    reveal_type(zmq.Frame(b"x").more)
    zmq.Frame(b"x", copy=False, track=True).tracker.wait()
    s.send("text")  # wrong
    s.send(1)  # wrong
    s.send_multipart(["text"])  # wrong
    s.send_string(b"bytes")  # wrong
    zmq.Frame("text")  # wrong
    number: int = zmq.Frame(b"x").get("User-Id")  # wrong
    text: str = s.recv()  # wrong
    frame: bytes = s.recv(copy=False)  # wrong


async def futures(s: zmq.asyncio.Socket, plain: zmq.Socket[bytes]) -> None:
    waiting: asyncio.Future[bytes] = s.recv()
    waiting.cancel()
    s.recv().add_done_callback(lambda done: print(done.result().decode()))
    reveal_type(await s.recv(copy=False))
    reveal_type(await s.recv_multipart(copy=False))
    reveal_type(await s.recv_string())
    reveal_type(await s.recv_serialized(lambda parts: len(parts)))
    reveal_type(await s.recv_into(bytearray(1)))
    reveal_type(await asyncio.wait_for(s.recv(), 1))
    reveal_type(await asyncio.gather(s.recv(), s.recv_multipart()))
    await s.send_string("x")
    await s.send_json({"a": 1})
    await s.send_multipart([b"a"])
    reveal_type(await zmq.asyncio.Poller().poll())
    reveal_type(await zmq.utils.monitor.recv_monitor_message(s))
    reveal_type(zmq.utils.monitor.recv_monitor_message(plain)["endpoint"])
    await s.send("text")  # wrong
    await s.send_multipart("text")  # wrong
    await s.sned(b"x")  # wrong
    text: str = await s.recv()  # wrong
    late: bytes = s.recv()  # wrong
    parts: list[str] = await s.recv_multipart()  # wrong


def submodules(ctx: zmq.Context[zmq.Socket[bytes]]) -> None:
    zmq.auth.thread.ThreadAuthenticator(ctx).start()
    zmq.auth.create_certificates("d", "name")
    zmq.devices.ThreadDevice(zmq.QUEUE, zmq.ROUTER, zmq.DEALER).start()
    zmq.asyncio.Context.instance()
    zmq.asyncio.Context(ctx).destroy()
    reveal_type(zmq.asyncio.Context().socket(zmq.PUB))
    reveal_type(zmq.asyncio.Socket(zmq.asyncio.Context(2), zmq.PUB))
    zmq.sugar.context.Context()
    zmq.curve_keypair(1)  # wrong
    zmq.has(1)  # wrong
    zmq.nonsense  # wrong
    zmq.asyncio.nonsense  # wrong


class Own(zmq.Socket[bytes]):
    label: str

    def recv(self, *args: object, **kwargs: object) -> bytes:  # type: ignore[override]
        self.label = "own"
        return b""
