"""Typical typed pyzmq user code."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import zmq
import zmq.asyncio
import zmq.auth
from zmq.asyncio import Context as AContext, Poller as APoller, Socket as ASocket
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.auth.thread import ThreadAuthenticator
from zmq.decorators import context, socket
from zmq.devices import ProcessDevice, ThreadDevice, ThreadProxy
from zmq.eventloop.zmqstream import ZMQStream
from zmq.log.handlers import PUBHandler, TopicLogger
from zmq.utils import jsonapi, z85
from zmq.utils.monitor import parse_monitor_message, recv_monitor_message
from zmq.utils.strtypes import asbytes, cast_bytes


def sync_part() -> None:
    ctx: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    inst = zmq.Context.instance()
    s: zmq.Socket[bytes] = ctx.socket(zmq.REQ)
    reveal_type(inst)
    reveal_type(s.recv())
    reveal_type(s.recv(copy=False))
    reveal_type(s.recv_multipart())
    reveal_type(s.recv_multipart(copy=False))
    reveal_type(s.recv_string())
    reveal_type(s.recv_json())
    reveal_type(s.send(b"x"))
    reveal_type(s.send(b"x", copy=False, track=True))
    reveal_type(s.send_multipart([b"a", b"b"]))
    reveal_type(s.poll(10))
    reveal_type(s.getsockopt(zmq.LINGER))
    reveal_type(s.get(zmq.EVENTS))
    reveal_type(s.linger)
    s.linger = 0
    s.setsockopt(zmq.LINGER, 0)
    s.setsockopt_string(zmq.IDENTITY, "me")
    s.rcvtimeo = 10
    s.subscribe("x")
    s.curve_serverkey = b"x" * 40
    with s.bind("tcp://127.0.0.1:0") as bound:
        reveal_type(bound)
    port = s.bind_to_random_port("tcp://127.0.0.1")
    reveal_type(port)
    reveal_type(s.LAST_ENDPOINT)
    reveal_type(s.closed)
    reveal_type(s.context)
    reveal_type(s.type)
    with ctx.socket(zmq.SocketType.PUSH) as push:
        push.send_string("x", zmq.DONTWAIT | zmq.SNDMORE)
        push.send_pyobj({"a": 1})
        push.send_serialized([1, 2], lambda m: [b"%d" % i for i in m])
    ctx.destroy(linger=0)
    ctx.term()


def poller_part(a: zmq.Socket[bytes], b: zmq.Socket[bytes]) -> int:
    p = zmq.Poller()
    p.register(a, zmq.POLLIN)
    p.register(0, zmq.POLLIN | zmq.POLLOUT)
    for sock, mask in p.poll(1000):
        reveal_type(sock)
        if mask & zmq.POLLIN:
            pass
    events = dict(p.poll())
    if a in events and events[a] == zmq.POLLIN:
        return 1
    zmq.proxy(a, b)
    r, w, x = zmq.select([a], [], [])
    reveal_type(r)
    return 0


async def async_part() -> None:
    ctx = AContext.instance()
    s: ASocket = ctx.socket(zmq.DEALER)
    reveal_type(ctx)
    reveal_type(s)
    reveal_type(await s.recv())
    reveal_type(await s.recv_multipart())
    reveal_type(await s.recv_json())
    reveal_type(await s.send(b"x"))
    reveal_type(await s.send_multipart([b"x"]))
    reveal_type(await s.poll(1))
    p = APoller()
    p.register(s, zmq.POLLIN)
    for k, m in await p.poll(1):
        reveal_type(k)
    t: asyncio.Future[list[bytes]] = asyncio.ensure_future(s.recv_multipart())
    t.cancel()
    auth = AsyncioAuthenticator(ctx)
    auth.start()
    s.close(linger=0)


@context()
@socket(zmq.PULL)
def decorated(ctx: zmq.Context[zmq.Socket[bytes]], sock: zmq.Socket[bytes]) -> None:
    sock.recv()


def auth_part(ctx: zmq.Context[zmq.Socket[bytes]]) -> None:
    auth = ThreadAuthenticator(ctx, log=logging.getLogger())
    auth.start()
    auth.allow("127.0.0.1")
    auth.deny("10.0.0.1")
    auth.configure_plain(domain="*", passwords={"a": "b"})
    auth.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
    pub, sec = zmq.auth.load_certificate("x.key_secret")
    reveal_type(sec)
    reveal_type(zmq.auth.create_certificates("d", "name"))
    reveal_type(zmq.curve_keypair())
    reveal_type(zmq.curve_public(b"x"))
    auth.stop()


def monitor_part(s: zmq.Socket[bytes]) -> None:
    mon = s.get_monitor_socket(zmq.EVENT_ALL)
    reveal_type(mon)
    ev = recv_monitor_message(mon)
    reveal_type(ev)
    reveal_type(ev["event"])
    reveal_type(parse_monitor_message([b"", b""]))
    for e in zmq.Event:
        print(e.name, e.value)
    reveal_type(zmq.Event(1))
    reveal_type(zmq.PUB)
    reveal_type(zmq.SocketType.PUB)
    reveal_type(zmq.Errno.EAGAIN)
    reveal_type(zmq.EAGAIN)


def errors_part(s: zmq.Socket[bytes]) -> None:
    try:
        s.recv(zmq.NOBLOCK)
    except zmq.Again as e:
        reveal_type(e.errno)
    except zmq.ContextTerminated:
        pass
    except zmq.ZMQError as e:
        print(e.strerror)
    except zmq.error.ZMQBindError:
        pass


def other_part(s: zmq.Socket[bytes]) -> None:
    d = ThreadDevice(zmq.QUEUE, zmq.ROUTER, zmq.DEALER)
    d.bind_in("tcp://*:1")
    d.start()
    ProcessDevice(zmq.QUEUE, zmq.ROUTER, zmq.DEALER).connect_out("tcp://x:1")
    px = ThreadProxy(zmq.XSUB, zmq.XPUB, zmq.PUB)
    px.setsockopt_mon(zmq.LINGER, 0)
    stream = ZMQStream(s)
    stream.on_recv(lambda parts: None)
    stream.send_multipart([b"x"])
    h = PUBHandler("tcp://127.0.0.1:1")
    h.setRootTopic("x")
    logging.getLogger().addHandler(h)
    TopicLogger("x").log(10, "topic", "msg")
    reveal_type(jsonapi.loads(b"1"))
    reveal_type(z85.encode(b"x" * 32))
    reveal_type(cast_bytes("x"))
    f = zmq.Frame(b"x")
    reveal_type(f.bytes)
    reveal_type(f.buffer)
    reveal_type(f.get("User-Id"))
    reveal_type(zmq.zmq_version_info())
    reveal_type(zmq.has("curve"))
    m: zmq.MessageTracker = zmq.MessageTracker()
    m.wait(timeout=1.0)
    s2: zmq.SyncSocket = zmq.SyncContext().socket(zmq.PUB)
    x: Any = s2.underlying
    zmq.Context.shadow(x)
    zmq.Socket.shadow(x)
    zmq.asyncio.Socket.shadow(x)
    zmq.asyncio.Socket.from_socket(s2) if hasattr(zmq.asyncio.Socket, "from_socket") else None


class MySocket(zmq.Socket[bytes]):
    def send_cbor(self, obj: object, flags: int = 0) -> None:
        self.send(bytes(str(obj), "ascii"), flags=flags)


class MyContext(zmq.Context[MySocket]):
    _socket_class = MySocket
