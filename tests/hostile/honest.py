"""The honest peer: real pyzmq in a process of its own, which counts and checks what comes back.

Run by ``hostile.helpers.Honest``. A thread sends numbered messages, a window of them ahead, and
checks that each comes back, in order and unchanged.
"""

from __future__ import annotations

import pickle
import sys
import threading
import time

import zmq

assert "monocoque" not in zmq.__file__, zmq.__file__


class Calls:
    def __init__(self):
        self.context = zmq.Context()
        self.socket = None
        self.sent = self.received = 0
        self._stop = threading.Event()
        self._thread = None
        self._error = None

    def open(self, kind, endpoint, window, options):
        self.socket = s = self.context.socket(getattr(zmq, kind))
        s.linger, s.rcvtimeo, s.sndtimeo = 0, 30_000, 30_000
        for name, value in options.items():
            setattr(s, name, value)
        s.connect(endpoint)
        self.sent = self.received = 0
        self.window = window
        if kind == "XSUB":
            s.send(b"\x01honest")

    def _text(self, number):
        return b"honest %d %s" % (number, b"x" * (number % 300))

    def _run(self):
        try:
            least = self.received + 2 * self.window
            while not (self._stop.is_set() and self.received >= least):
                while self.sent - self.received < self.window:
                    self.socket.send(self._text(self.sent))
                    self.sent += 1
                self._take()
            while self.received < self.sent:
                self._take()
        except Exception as error:
            self._error = error

    def _take(self):
        got = self.socket.recv()
        assert got == self._text(self.received), (got, self.received)
        self.received += 1

    def start(self):
        self._stop.clear()
        self._first, self._began = self.received, time.monotonic()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self):
        """Messages that came back since ``start``, and how many that is a second."""
        self._stop.set()
        self._thread.join()
        if self._error:
            error, self._error = self._error, None
            raise error
        count = self.received - self._first
        return count, count / (time.monotonic() - self._began)

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None


calls = Calls()
while True:
    try:
        name, args, options = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        answer = (True, getattr(calls, name)(*args, **options))
    except Exception as error:
        answer = (False, repr(error))
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.flush()
calls.close()
calls.context.term()
