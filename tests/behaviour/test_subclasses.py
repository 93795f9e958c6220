"""Classes that programs derive from ours: what they write anew is what is called, as by pyzmq."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect

import pytest

#: What pyzmq's classes have, too: a program that takes one of these has to know.
PYZMQ = """
_Future _add_socket _allowed _authenticate_curve _authenticate_gssapi _authenticate_plain _bind_cm
_check_closed _close_sockets _closed _connect_cm _context _current_loop _default_loop _denied
_deserialize _finish_flush _get_attr_opt _get_loop _handle_events _handle_recv _handle_send
_instance _instance_lock _instance_pid _is_protocol _launch_class _map _monitor_socket
_poller_class _recv_futures _repr_cls _reserve_random_port _rm_socket _run_callback _send_futures
_send_zap_reply _set_attr_opt _setup_sockets _shadow _shadow_obj _shadow_sock _socket_class
_sockets _type_name _warn_destroy_close
""".split()

#: Helpers that a program may well have, and our own names without their `_zm`.
HELPERS = """
_add _attach _begin _bind _binding _call _check _connect _deadline _declares _discard _done
_endpoints _explain _explain_end _explain_option _failed _get_int _give_way _handle _home _hub
_look _name_nearest _open _option _pace _pause _pid _plain_lookup _queues _recv _send _spin
_state_changed _stride _try _turn _wait _wait_begin _wait_end _waiting _waits _watch _watcher
stats recv_many send_many
""".split()


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


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("", "Socket"),
        ("", "Context"),
        ("", "Frame"),
        ("", "Poller"),
        (".asyncio", "Socket"),
        (".asyncio", "Context"),
        (".asyncio", "Poller"),
        (".green", "Socket"),
        (".green", "Context"),
        (".green", "Poller"),
        (".eventloop.zmqstream", "ZMQStream"),
        (".devices", "ThreadDevice"),
        (".devices", "ThreadProxySteerable"),
        (".auth.thread", "ThreadAuthenticator"),
        (".auth.asyncio", "AsyncioAuthenticator"),
    ],
)
def test_private_names_that_pyzmq_has_not_begin_with_zm(zmq, on_libzmq, module, name):
    """A program may take any other for its own helpers."""
    if on_libzmq:
        pytest.skip("it is about our names")
    if module in (".green", ".eventloop.zmqstream"):
        pytest.importorskip({".green": "gevent"}.get(module, "tornado"))
    cls = getattr(module_of(zmq, module), name)
    names = {n for c in cls.__mro__ for n in (*vars(c), *inspect.get_annotations(c))}
    options = {n for n in names if hasattr(zmq.constants, n.upper())}
    taken = {n for n in names - options if n[0] == "_" and not n.startswith(("__", "_zm_"))}
    assert {n for n in taken if not n.startswith(f"_{name}__")} <= {*PYZMQ}


def helpers(*plain):
    def mine(*args):
        raise AssertionError("is the program's own")

    return dict.fromkeys({*HELPERS} - {*plain}, mine)


@pytest.mark.parametrize("flavour", ["", ".green"])
def test_a_socket_with_helpers_of_its_own_works(zmq, flavour):
    if flavour == ".green":
        pytest.importorskip("gevent")
    module = module_of(zmq, flavour)
    own = type("Own", (module.Socket,), helpers())
    with module.Context() as context:
        a, b = (context.socket(zmq.PAIR, socket_class=own) for _ in range(2))
        a.linger = b.linger = 0
        b.connect(f"tcp://127.0.0.1:{a.bind_to_random_port('tcp://127.0.0.1')}")
        a.send_multipart([b"a", b"b"])
        assert b.recv_multipart() == [b"a", b"b"]
        b.send_json({})
        assert a.poll(10_000)
        assert a.recv_json() == {}
        assert "Own(zmq.PAIR)" in repr(a)
        a.get_monitor_socket().close()
        for wrong, error in (
            (lambda: a.recv(zmq.DONTWAIT), zmq.Again),
            (lambda: a.setsockopt(zmq.LINGER, "0"), TypeError),
            (lambda: a.bind("tcp://"), zmq.ZMQError),
            (lambda: a.no_such_option, AttributeError),
            (lambda: setattr(a, "no_such_option", 1), AttributeError),
        ):
            with pytest.raises(error):
                wrong()
        a.close()
        b.close()
        with pytest.raises(zmq.ZMQError):
            a.send(b"")


def test_an_asyncio_socket_with_helpers_of_its_own_works(zmq):
    module = module_of(zmq, ".asyncio")
    own = type("Own", (module.Socket,), helpers())

    async def use():
        with module.Context() as context:
            a, b = (context.socket(zmq.PAIR, socket_class=own) for _ in range(2))
            a.linger = b.linger = 0
            b.connect(f"tcp://127.0.0.1:{a.bind_to_random_port('tcp://127.0.0.1')}")
            waiting = asyncio.ensure_future(b.recv_multipart())
            await asyncio.sleep(0)
            await a.send_multipart([b"a", b"b"])
            assert await waiting == [b"a", b"b"]
            given_up = asyncio.ensure_future(b.recv())
            await asyncio.sleep(0)
            given_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await given_up
            await a.send(b"c")
            assert await b.poll(10_000)
            assert await b.recv() == b"c"
            assert "Own(zmq.PAIR)" in repr(a)
            a.close()
            b.close()

    asyncio.run(use())


def test_a_context_with_helpers_of_its_own_works(zmq):
    own = type("Own", (zmq.Context,), helpers() | {"holders": None})
    context = own()
    with context.socket(zmq.PAIR) as s:
        s.bind("inproc://a")
        assert context.get(zmq.MAX_SOCKETS) > 0
        context.linger = 0
    assert "Own" in repr(context)
    context.term()
    assert context.closed
