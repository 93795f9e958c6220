"""Sockets and Pollers whose calls answer futures; knows no particular event loop.

A call tries at once. Only what could not be done waits, in a queue of its direction, and the
socket's descriptor is watched only while something waits. Each wake-up serves as many of those
that wait as it can, in their order. Parsing (recv_json and the like) happens when a message is
taken, so that a cancelled future has taken nothing; and a message that was given to a task which
is cancelled before it sees it goes back, to be received next.

The loops' side is in `zmq_monocoque.asyncio` and `zmq_monocoque.eventloop.future`.

`futures` are what calls answer, `quiet` the calls that never wait, `waits` the queues, `loop` what
is asked of an event loop; `socket` and `poller` put them together.
"""

from __future__ import annotations

from asyncio import Future as Future

from zmq_monocoque._future.futures import _GivesBack as _GivesBack
from zmq_monocoque._future.futures import _GivesWay as _GivesWay
from zmq_monocoque._future.loop import _Async as _Async
from zmq_monocoque._future.loop import _Turn as _Turn
from zmq_monocoque._future.poller import _AsyncPoller as _AsyncPoller
from zmq_monocoque._future.socket import _AsyncSocket as _AsyncSocket
