"""Those who wait for a socket, in the order in which they came."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq_monocoque as zmq
from zmq_monocoque._future.futures import _GivesBack, _resolve
from zmq_monocoque._future.quiet import EVENTS, POLLIN, POLLOUT, _Adapter, _GivenBack, _is_plain
from zmq_monocoque._pace import Stride, pace_of

if TYPE_CHECKING:
    from zmq_monocoque._future.loop import _Turn, _Unwatch
    from zmq_monocoque._future.socket import _AsyncSocket
    from zmq_monocoque._typing import TypeAlias

#: Tries what somebody waits for, on what stands for the socket; NotImplemented: not yet.
_Attempt: TypeAlias = "Callable[[Any], Any]"
_Queue: TypeAlias = "OrderedDict[Future[Any], _Waiting]"


class _Waiting:
    """A future in a queue: who and what will serve it."""

    __slots__ = ("attempt", "load", "owner", "timer")

    def __init__(self, owner: _AsyncSocket, attempt: _Attempt):
        self.owner = owner  # which lives as long as somebody waits for it
        self.attempt = attempt
        self.load: Callable[[Any], Any] | None = None
        self.timer: asyncio.TimerHandle | None = None


class _Waits:
    """Who waits for one socket, and the watch on its descriptor."""

    __slots__ = (
        "_forget",
        "_idle",
        "_look_due",
        "_turn",
        "_unwatch",
        "left",
        "loop",
        "pace",
        "recv",
        "send",
        "source",
        "stride",
        "sync",
    )

    def __init__(self, sync: zmq.Socket[Any]):
        self.recv: _Queue = OrderedDict()
        self.send: _Queue = OrderedDict()
        #: Whose calls know `_QUIET`.
        self.sync = sync if _is_plain(type(sync)) else _Adapter(sync)
        #: What to receive from: the socket, or what was given back to it.
        self.source: Any = self.sync
        self.loop: Any = None
        self.pace: Any = None
        #: Calls until `_zm_try` looks at the clock.
        self.left = 0
        self.stride = Stride()
        self._turn: _Turn | None = None
        self._unwatch: _Unwatch | None = None
        self._idle = False
        self._look_due = False
        self._forget = self.forget

    # --- the queues -------------------------------------------------------------------------------

    def is_busy(self, queue: _Queue) -> bool:
        """Does anybody wait there who was not cancelled a moment ago?"""
        return bool(queue) and any(not future.done() for future in queue)

    def add(
        self,
        loop: asyncio.AbstractEventLoop,
        future: Future[Any],
        queues: tuple[_Queue, ...],
        waiting: _Waiting,
    ) -> None:
        """Has ``future`` wait in each of ``queues``."""
        self.watch(loop, waiting.owner)
        for queue in queues:
            queue[future] = waiting
        self._idle = False
        if not isinstance(future, _GivesBack):  # which tells of its end itself
            future.add_done_callback(self._forget)
        # The try before this took in all that there was; what comes from here on makes the
        # descriptor readable. Only who waits for the other direction must be told.
        if self.recv and self.send:
            self.look_soon()

    def forget(self, future: Future[Any]) -> None:
        """``future`` is done, by whatever means."""
        waiting = self.recv.pop(future, None)
        waiting = self.send.pop(future, waiting)
        if waiting is not None and waiting.timer is not None:
            waiting.timer.cancel()

    def settle(self, future: Future[Any]) -> None:
        """Before ``future`` is done by us: it need not call `forget` then."""
        if not isinstance(future, _GivesBack):
            future.remove_done_callback(self._forget)
        self.forget(future)

    def time_out(self, future: Future[Any], answer: Callable[[Future[Any]], None]) -> None:
        """The time of ``future`` is up."""
        if not future.done():
            self.settle(future)
            answer(future)

    def give_back(self, taken: Any) -> None:
        """Has ``taken`` received next, since nobody saw it."""
        if not isinstance(self.source, _GivenBack):
            self.source = _GivenBack(self, self.sync)
        self.source.add(taken)
        if self.recv:
            self.look_soon()

    def exhausted(self) -> None:
        """All that was given back is received."""
        self.source = self.sync

    # --- serving them -----------------------------------------------------------------------------

    def spin(self) -> bool:
        """Before the first who waits to receive goes to sleep: has a message come by now?"""
        turn = self._turn
        # Of room to send, which a spin takes in as well, nobody would tell who waits for that.
        if turn is None or len(self.recv) != 1 or self.send or not turn.spin(self):
            return False
        return self._drain(self.recv) > 0

    def look_soon(self) -> None:
        """Serves in the next tick: a call may have taken in what somebody waits for."""
        if self._look_due or self.loop is None or self.loop.is_closed():
            return
        self._look_due = True
        self.loop.call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        self._serve()

    def _on_readable(self) -> None:
        if self.recv or self.send:
            self._serve()
            return
        # Nobody waits. Once that is somebody who does other things between two messages; twice,
        # and messages that nobody asks for need not wake the loop any more.
        try:
            self.sync._zm_get_int(EVENTS)
        except zmq.ZMQError:
            self._idle = True
        if self._idle:
            self.unwatch()
        self._idle = True

    def _serve(self) -> None:
        while self.recv or self.send:
            try:
                events = self.source._zm_get_int(EVENTS)
            except zmq.ZMQError:
                # The context ended, or another object closed the socket: each hears of it.
                self._drain(self.recv)
                self._drain(self.send)
                self.unwatch()
                return
            served = 0
            if self.recv and events & POLLIN:
                served += self._drain(self.recv)
            if self.send and events & POLLOUT:
                served += self._drain(self.send)
            if not served:
                return

    def _drain(self, queue: _Queue) -> int:
        """Serves those who wait, up to the first who has to wait on. How many it were."""
        served = 0
        while queue:
            future, waiting = next(iter(queue.items()))
            if future.done():
                self.forget(future)
                continue
            try:
                result = waiting.attempt(self.source if queue is self.recv else self.sync)
            except Exception as error:
                self.settle(future)
                future.set_exception(error)
            else:
                if result is NotImplemented:
                    break
                self.settle(future)
                if isinstance(future, _GivesBack):
                    future._taken = result
                _resolve(future, result, waiting.load)
            served += 1
        return served

    # --- the watch --------------------------------------------------------------------------------

    def watch(self, loop: asyncio.AbstractEventLoop, owner: _AsyncSocket) -> None:
        """Has ``loop`` watch the descriptor."""
        if self.loop is not loop:
            self._change_loop(loop, owner)
        if self._unwatch is None:
            self._unwatch = owner._zm_watch(loop, owner, POLLIN, self._on_readable)

    def _change_loop(self, loop: asyncio.AbstractEventLoop, owner: _AsyncSocket) -> None:
        self.unwatch()
        for queue in (self.recv, self.send):
            for future in [*queue]:
                if future.get_loop().is_closed():
                    del queue[future]  # nobody can wait for it any more
        self.loop = loop
        self.pace = pace_of(loop)
        self._turn = owner._zm_turn(loop)
        self._look_due = False

    def unwatch(self) -> None:
        """Lets go of the descriptor."""
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None and self.loop is not None and not self.loop.is_closed():
            unwatch()

    def close(self) -> None:
        """Cancels all who wait."""
        self.unwatch()
        for future in [*self.recv, *self.send]:
            if not future.done() and not future.get_loop().is_closed():
                self.settle(future)
                future.cancel()
        self.recv.clear()
        self.send.clear()
