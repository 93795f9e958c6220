from __future__ import annotations
import asyncio
from typing import Any, Protocol, Sequence
import zmq
import zmq.asyncio


async def get(s: zmq.asyncio.Socket) -> bytes:
    return await s.recv()


async def get_parts(s: zmq.asyncio.Socket) -> list[bytes]:
    return await s.recv_multipart()


async def get_text(s: zmq.asyncio.Socket) -> str:
    return await s.recv_string()


async def get_json(s: zmq.asyncio.Socket) -> dict[str, Any]:
    d = await s.recv_json()
    assert isinstance(d, dict)
    return d


async def wait(s: zmq.asyncio.Socket) -> bytes:
    return await asyncio.wait_for(s.recv(), 1.0)


async def bad(s: zmq.asyncio.Socket) -> None:
    x: str = await s.recv()  # a bug that a type checker should find
    (await s.recv()).encode()  # another one
    await s.sendd(b"x")  # and a typo
    await s.send("text")  # and a str


def sync_bad(s: zmq.Socket[bytes]) -> None:
    x: str = s.recv()
    s.send("text")
    s.sned(b"x")
    s.setsockopt(zmq.LINGER, "zero")
    s.send_multipart(b"abc")
    s.lingr = 0


class Sub(zmq.Socket[bytes]):
    def send_string(
        self, u: str, flags: int = 0, copy: bool = True, encoding: str = "utf-8", **kwargs: Any
    ) -> zmq.Frame | None:
        return super().send_string(u, flags, copy, encoding, **kwargs)


class HasRecv(Protocol):
    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any: ...


def use(x: HasRecv) -> None: ...


use(zmq.Context().socket(zmq.PUB))


def port_of(s: zmq.Socket[bytes]) -> str:
    e = s.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(e, bytes)
    return e.decode()


def keys() -> tuple[bytes, bytes]:
    return zmq.curve_keypair()


def fd(s: zmq.Socket[bytes]) -> int:
    return s.getsockopt(zmq.FD)


def fd2(s: zmq.Socket[bytes]) -> int:
    return s.fileno()
