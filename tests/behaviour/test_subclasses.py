"""Classes that programs derive from ours: what they write anew is what is called, as by pyzmq."""

from __future__ import annotations

import asyncio
import importlib

import pytest


def module_of(zmq, flavour: str):
    return importlib.import_module(zmq.__name__ + flavour) if flavour else zmq


@pytest.mark.parametrize("linger", [None, 7])
@pytest.mark.parametrize("flavour", ["", ".asyncio", ".green"])
def test_a_context_ends_sockets_whose_close_takes_nothing(zmq, flavour, linger):
    """With the lingering that was asked for."""
    if flavour == ".green":
        pytest.importorskip("gevent")
    module, closed = module_of(zmq, flavour), []

    class Own(module.Socket):
        def close(self):
            closed.append(self.getsockopt(zmq.LINGER))
            super().close()

    context = module.Context()
    s = context.socket(zmq.PAIR, socket_class=Own)
    s.setsockopt(zmq.LINGER, 3)
    context.destroy(linger=linger)
    assert closed == [linger or 3]
    assert s.closed
    assert context.closed
    with module.Context() as another:
        assert not another.socket(zmq.PAIR, socket_class=Own).closed
    assert len(closed) == 2


@pytest.mark.parametrize("flavour", ["", ".asyncio"])
def test_options_are_read_through_the_get_of_a_subclass(zmq, flavour):
    module = module_of(zmq, flavour)
    asked = []

    class Own(module.Socket):
        def get(self, option):
            asked.append(option)
            return super().get(option)

    async def ask():
        with module.Context() as context, context.socket(zmq.PAIR, socket_class=Own) as s:
            for read, option in (
                (lambda: s.get_hwm(), zmq.SNDHWM),
                (lambda: s.hwm, zmq.SNDHWM),
                (lambda: s.fileno(), zmq.FD),
                (lambda: s.linger, zmq.LINGER),
                (lambda: s.get_string(zmq.IDENTITY), zmq.IDENTITY),
            ):
                asked.clear()
                read()
                assert option in asked

    asyncio.run(ask())
