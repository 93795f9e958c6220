"""The backend's Context: a handle of the engine, its options, its end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from errno import EINTR, ETIMEDOUT
from typing import Any, ClassVar

from zmq_monocoque import _ext
from zmq_monocoque.backend._engine import ffi, interruptible, lib, says_if_inherited


class ContextMixin:
    """Context(io_threads=1, shadow=0): a context of the engine, or (shadow) one that exists.

    ZMQError(EINVAL) when ``io_threads`` is negative.
    """

    # Values for one whose __init__ failed half way: it is closed.
    closed: bool = True
    _zm_handle: int = 0
    _zm_pid: int = 0
    #: After so many seconds a term() without a limit says what it waits for, once.
    _zm_patience: float = 5.0
    _zm_check: Callable[[int], int]
    _zm_binding: ClassVar[_ext.Binding]

    def __init__(self, io_threads: int = 1, shadow: int = 0) -> None:
        self._zm_pid = os.getpid()
        self._zm_handle = shadow if shadow else self._zm_binding.context_new(io_threads)
        self.closed = False

    def __reduce__(self) -> Any:
        raise TypeError("a Context cannot be pickled: it stands for what this process has")

    @property
    def underlying(self) -> int:
        """The engine's number for this context; 0 once it has ended."""
        return self._zm_handle

    def term(self, timeout: int | None = None) -> None:
        """Ends the context: waits until every socket is closed and what it lingers over has left.

        Blocked calls on its sockets, in other threads, end with ContextTerminated. A signal
        handler may raise out of it; the context then stays shut down, and term() may be called
        again. In a forked child nothing but `closed` changes. ``timeout`` in ms (ours; None: wait
        as long as it takes): ZMQError(ETIMEDOUT) after that, with `holders` in its text, and
        term() may be called again. Without a timeout the logger ``zmq_monocoque`` warns, once, with
        the same text after 5 s. Source: zmq_ctx_term(3).
        """
        if not self._zm_handle or self.closed:
            self.closed = True
            return
        if self._zm_pid == os.getpid():
            self._zm_wait_for_the_end(timeout)
        self._zm_handle = 0
        self.closed = True

    def _zm_wait_for_the_end(self, timeout: int | None) -> None:
        # One deadline, however many signals there are on the way.
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        end: float | None = time.monotonic() + (self._zm_patience if seconds is None else seconds)
        while True:
            left_ms = -1 if end is None else max(0, math.ceil((end - time.monotonic()) * 1000))
            answer = interruptible(lib.zm_context_term, self._zm_handle, left_ms)
            if answer == -EINTR:
                continue
            if answer == -ETIMEDOUT and seconds is None:
                self._zm_say_what_holds()
                end = None
                continue
            try:
                self._zm_check(answer)
            except Exception as error:
                # The host's, whatever its class is: it has a text that may be added to.
                if answer == -ETIMEDOUT and hasattr(error, "strerror"):
                    error.strerror += f": waiting for {'; '.join(ContextMixin.holders(self))}"
                raise
            return

    def _zm_say_what_holds(self) -> None:
        """To whoever reads logs: a program that hangs in term() shows nothing else."""
        import logging  # not needed by who does not hang

        if holders := ContextMixin.holders(self):
            logging.getLogger("zmq_monocoque").warning(
                "Context.term() is still waiting after %g s: for %s",
                self._zm_patience,
                "; ".join(holders),
            )

    def set(self, option: int, optval: int) -> None:
        """Sets a `ContextOption` to ``optval``, for sockets and threads that are made later.

        TypeError when that is no int, ZMQError(EINVAL) for an unknown ``option`` or a value outside
        its range, RuntimeError when the context has ended. Source: zmq_ctx_set(3).
        """
        if self.closed:
            raise RuntimeError("Context has been destroyed")
        if not isinstance(optval, int):
            raise TypeError(f"expected int, got: {optval!r}")
        with says_if_inherited("context", self._zm_pid):
            self._zm_binding.context_set(self._zm_handle, option, optval)

    def get(self, option: int) -> int:
        """The value of a `ContextOption`.

        ZMQError(EINVAL) for an unknown ``option`` or one that can only be set, RuntimeError when
        the
        context has ended. Source: zmq_ctx_get(3).
        """
        if self.closed:
            raise RuntimeError("Context has been destroyed")
        with says_if_inherited("context", self._zm_pid):
            return self._zm_binding.context_get(self._zm_handle, option)

    def holders(self) -> list[str]:
        """What keeps `term` waiting: a line for each open or lingering socket."""
        size = 4096
        while True:
            out = ffi.new("char[]", size)
            with says_if_inherited("context", self._zm_pid):
                used = self._zm_check(lib.zm_context_holders(self._zm_handle, out, size))
            if used < size:
                text: Any = ffi.string(out, used)
                return text.decode(errors="replace").splitlines()
            size = used + 1024  # there may be more of them by then
