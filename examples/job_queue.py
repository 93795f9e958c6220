"""A job queue: clients submit jobs, idle workers get them, over CURVE, in asyncio.

    python job_queue.py keys DIRECTORY
    python job_queue.py queue DIRECTORY tcp://127.0.0.1:5555
    python job_queue.py work DIRECTORY tcp://127.0.0.1:5555
    python job_queue.py submit DIRECTORY tcp://127.0.0.1:5555 7 12 30

A job is a number, its result the number's square. The queue gives a job to a worker that has asked
for one, so a slow worker delays its own jobs only. Clients and workers share a pair of keys; the
queue lets nobody else in. A job whose worker dies is lost: its client has to submit it again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from collections import deque
from pathlib import Path

import zmq_monocoque as zmq
import zmq_monocoque.asyncio
from zmq_monocoque.auth import create_certificates, load_certificate
from zmq_monocoque.auth.asyncio import AsyncioAuthenticator

WORKER, CLIENT = b"W", b"C"


def make_keys(directory: Path) -> None:
    """Two pairs of keys. Secret ones are written with mode 0600."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for name in ("queue", "member"):
        create_certificates(directory, name)


def keys_of(directory: Path, name: str) -> tuple[bytes, bytes]:
    public, secret = load_certificate(directory / f"{name}.key_secret")
    assert secret is not None
    return public, secret


async def serve(directory: Path, endpoint: str) -> None:
    """The queue, until SIGTERM or SIGINT."""
    with zmq.asyncio.Context() as context:
        members = AsyncioAuthenticator(context)
        members.start()
        members.configure_curve_callback(credentials_provider=Members(directory))
        with context.socket(zmq.ROUTER) as router:
            router.curve_publickey, router.curve_secretkey = keys_of(directory, "queue")
            router.curve_server = True
            router.router_mandatory = True
            router.bind(endpoint)
            print(router.LAST_ENDPOINT.decode(), flush=True)
            task = asyncio.create_task(hand_out(router))
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await task
        members.stop()


class Members:
    """Knows the one key that may come in."""

    def __init__(self, directory: Path):
        self.key, _ = keys_of(directory, "member")

    def callback(self, domain: str, key: bytes) -> bool:
        return key == self.key


async def hand_out(router: zmq.asyncio.Socket) -> None:
    """[worker, W] asks for a job, [worker, W, client, job, result] returns one and asks for the
    next, [client, C, job] is a job."""
    idle: deque[bytes] = deque()
    jobs: deque[list[bytes]] = deque()
    while True:
        sender, kind, *rest = await router.recv_multipart()
        if kind == WORKER:
            idle.append(sender)
            if len(rest) == 3:
                with contextlib.suppress(zmq.ZMQError):  # the client has gone
                    await router.send_multipart(rest)
        elif kind == CLIENT and len(rest) == 1:
            jobs.append([sender, rest[0]])
        while jobs and idle:
            job = jobs.popleft()
            try:
                await router.send_multipart([idle.popleft(), *job])
            except zmq.ZMQError:  # the worker has gone; the job is for the next one
                jobs.appendleft(job)


@contextlib.contextmanager
def member(directory: Path, endpoint: str):
    """A DEALER that is connected to the queue."""
    with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 1000
        dealer.curve_publickey, dealer.curve_secretkey = keys_of(directory, "member")
        dealer.curve_serverkey, _ = load_certificate(directory / "queue.key")
        dealer.connect(endpoint)
        yield dealer


async def work(directory: Path, endpoint: str) -> None:
    with member(directory, endpoint) as dealer:
        await dealer.send(WORKER)
        while True:
            client, job = await dealer.recv_multipart()
            result = str(int(job) ** 2).encode()
            await dealer.send_multipart([WORKER, client, job, result])


async def submit(directory: Path, endpoint: str, numbers: list[int]) -> None:
    with member(directory, endpoint) as dealer:
        for number in numbers:
            await dealer.send_multipart([CLIENT, str(number).encode()])
        for _ in numbers:
            job, result = await dealer.recv_multipart()
            print(job.decode(), result.decode(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="a job queue over CURVE")
    parser.add_argument("role", choices=["keys", "queue", "work", "submit"])
    parser.add_argument("directory", type=Path, help="where the keys are")
    parser.add_argument("endpoint", nargs="?", default="tcp://127.0.0.1:5555")
    parser.add_argument("numbers", nargs="*", type=int, help="the jobs to submit")
    arguments = parser.parse_args()
    os.umask(0o077)
    with contextlib.suppress(KeyboardInterrupt):
        if arguments.role == "keys":
            make_keys(arguments.directory)
        elif arguments.role == "queue":
            asyncio.run(serve(arguments.directory, arguments.endpoint))
        elif arguments.role == "work":
            asyncio.run(work(arguments.directory, arguments.endpoint))
        else:
            asyncio.run(submit(arguments.directory, arguments.endpoint, arguments.numbers))


if __name__ == "__main__":
    main()
