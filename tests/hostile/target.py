"""The process under attack: one socket of ours, which echoes what honest peers send.

Run by ``hostile.helpers.Target``, which sends calls and reads answers (pickles over the pipes).
The socket belongs to a thread; what that thread and the engine saw is asked for with ``state``.
"""

from __future__ import annotations

import os
import pickle
import resource
import struct
import sys
import threading
from collections import Counter

TESTS, PACKAGE = sys.argv[1:3]
sys.path[:0] = [PACKAGE, TESTS]

import leaks  # noqa: E402
from support.security import OK, Handler, reply  # noqa: E402

import zmq_monocoque as zmq  # noqa: E402

KEPT = 50  # of what strangers sent, at most
PAGE = os.sysconf("SC_PAGE_SIZE")
STATM = os.open("/proc/self/statm", os.O_RDONLY)  # now: strangers may take all descriptors


class Service:
    def __init__(self, kind: str, options: dict, zap: int):
        self.context = zmq.Context()
        self.zap = zap
        self.answering = threading.Event()
        if zap > 0:
            self.answering.set()
        self.handler = Handler(zmq, self.context, self._answer) if zap else None
        self.socket = self.context.socket(getattr(zmq, kind))
        self.socket.linger = 0
        for name, value in options.items():
            setattr(self.socket, name, value)
        self.monitor = self.socket.get_monitor_socket()
        self.events: Counter[tuple[str, int]] = Counter()
        self.echoed = self.strange = 0
        self.got: list[bytes] = []
        self.pause = False
        self._calls: list = []
        self._done = threading.Condition()
        self._stop = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _answer(self, _question):
        self.answering.wait()
        return reply(b"%d" % self.zap) if self.zap > 0 else OK

    def on_thread(self, call):
        """Runs ``call`` where the socket is used, and returns what it returned."""
        with self._done:
            entry = [call, None, None]
            self._calls.append(entry)
            assert self._done.wait_for(lambda: entry not in self._calls, 60)
        if entry[2]:
            raise entry[2]
        return entry[1]

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self.monitor, zmq.POLLIN)
        while not self._stop:
            ready = dict(poller.poll(5) if not self.pause else self._only_monitor())
            if self.monitor in ready:
                self._read_monitor()
            if self.socket in ready:
                self._echo()
            with self._done:
                for entry in self._calls:
                    try:
                        entry[1] = entry[0]()
                    except Exception as error:
                        entry[2] = error
                self._calls.clear()
                self._done.notify_all()

    def _only_monitor(self):
        return [(self.monitor, zmq.POLLIN)] if self.monitor.poll(5) else []

    def _read_monitor(self) -> None:
        while self.monitor.poll(0):
            event, value = struct.unpack("=HI", self.monitor.recv_multipart()[0])
            name = zmq.Event(event).name
            # Values of these are descriptors and times.
            if not name.startswith("HANDSHAKE") and name != "ACCEPT_FAILED":
                value = 0
            self.events[name, value] += 1

    def _echo(self) -> None:
        for _ in range(200):
            try:
                parts = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            honest = parts[-1].startswith(b"honest ")
            if honest or self.socket.type == zmq.REP:
                self.socket.send_multipart(parts)
                self.echoed += honest
            if not honest:
                self.strange += 1
                if len(self.got) < KEPT:
                    self.got.append(parts[-1][:64])

    def close(self) -> None:
        self._stop = True
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()
        self.answering.set()
        if self.handler:
            self.handler.close()
        self.context.term()


class Calls:
    def __init__(self):
        self.service: Service | None = None
        self.before = leaks.counts()

    def open(self, kind, options, zap=0):
        self.service = Service(kind, options, zap)

    def bind(self, endpoint="tcp://127.0.0.1:*"):
        s = self.service.socket

        def bind():
            s.bind(endpoint)
            return s.LAST_ENDPOINT.decode()

        return self.service.on_thread(bind)

    def connect(self, endpoint, times=1):
        s = self.service.socket
        self.service.on_thread(lambda: [s.connect(endpoint) for _ in range(times)] and None)

    def set(self, name, value):
        self.service.on_thread(lambda: setattr(self.service.socket, name, value))

    def pause(self, on):
        """Stops reading (and starts again)."""
        self.service.pause = on

    def answer(self):
        """Wakes a handler that was opened as stuck (zap=-1)."""
        self.service.answering.set()

    def limit_descriptors(self, more):
        """Leaves room for so many more; None: as many as allowed."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if more is None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return
        probe = os.open("/dev/null", os.O_RDONLY)
        os.close(probe)
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe + more, hard))

    def state(self):
        service = self.service
        engine = leaks.importlib.import_module("zmq_monocoque.backend._engine")
        found = engine.ffi.new("zm_counts *")
        engine.lib.zm_counts_get(found)
        resident = int(os.pread(STATM, 100, 0).split()[1]) * PAGE
        return {
            "blocks": found.blocks,
            "connections": found.connections,
            "in_flight": found.in_flight,
            "rss": resident,
            "events": dict(service.events),
            "echoed": service.echoed,
            "strange": service.strange,
            "got": list(service.got),
        }

    def close(self):
        """Ends the service; what is left of it in the engine."""
        service, self.service = self.service, None
        if service:
            service.close()
        return leaks.left_over(self.before)


def main() -> None:
    calls = Calls()
    inp, out = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            name, args, options = pickle.load(inp)
        except EOFError:
            break
        try:
            answer = (True, getattr(calls, name)(*args, **options))
        except Exception as error:
            answer = (False, repr(error))
        pickle.dump(answer, out)
        out.flush()
    calls.close()


main()
