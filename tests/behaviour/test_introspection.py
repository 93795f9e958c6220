"""What tools see of the API: signatures, and pickles of functions, classes and objects."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle

import pytest

#: Of the calls that are written in C on either side: names, defaults, kinds.
SIGNATURES = {
    "Socket.send": "data, flags=0, copy=True, track=False, routing_id=None, group=None",
    "Socket.send_multipart": "msg_parts, flags=0, copy=True, track=False, **kwargs",
    "Socket.recv": "flags=0, copy=True, track=False",
    "Socket.recv_multipart": "flags=0, copy=True, track=False",
    "Socket.recv_into": "buffer, /, *, nbytes=0, flags=0",
    "Socket.get": "option",
    "Socket.set": "option, optval",
    "Socket.bind": "addr",
    "Socket.connect": "addr",
    "Socket.unbind": "addr",
    "Socket.disconnect": "addr",
    "Socket.close": "linger=None",
    "Socket.poll": "timeout=None, flags=1",
    "Frame.get": "option",
    "Frame.set": "option, value",
    "Context.get": "option",
    "Context.set": "option, optval",
    "zmq_poll": "sockets, timeout=-1",
    "proxy": "frontend, backend, capture=None",
    "proxy_steerable": "frontend, backend, capture=None, control=None",
    "curve_keypair": "",
    "curve_public": "secret_key",
    "has": "capability",
}
#: Ours alone.
OUR_SIGNATURES = {
    "Socket.send_many": "messages, *, flags=0, copy=True",
    "Socket.recv_many": "max, *, flags=0, copy=True, multipart=False",
    "Frame.fast_copy": "",
}


def plain(signature: inspect.Signature) -> str:
    """Without self, annotations, and what is positional-only in one of the two."""
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    parts = []
    for p in parameters:
        default = "" if p.default is p.empty else f"={p.default!r}"
        if isinstance(p.default, int) and not isinstance(p.default, bool):
            default = f"={int(p.default)}"
        if p.kind is p.VAR_KEYWORD:
            parts.append(f"**{p.name}")
            continue
        if p.kind is p.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(p.name + default)
    return ", ".join(parts)


def named(module, path: str):
    for part in path.split("."):
        module = getattr(module, part)
    return module


@pytest.mark.parametrize("path", [*SIGNATURES, *OUR_SIGNATURES])
def test_inspect_shows_the_signature(zmq, on_libzmq, path):
    if on_libzmq and path in OUR_SIGNATURES:
        pytest.skip("ours alone")
    wanted = {**SIGNATURES, **OUR_SIGNATURES}[path].replace(" /,", "")
    assert plain(inspect.signature(named(zmq, path))) == wanted


def test_every_public_method_has_a_signature(zmq):
    for cls in (zmq.Socket, zmq.Context, zmq.Frame, zmq.Poller, zmq.MessageTracker):
        for name, value in inspect.getmembers(cls, callable):
            if not name.startswith("_"):
                inspect.signature(value)  # ValueError: there is none


@pytest.mark.parametrize("where", ["", ".backend", ".devices", ".error", ".sugar", ".utils.z85"])
def test_functions_and_classes_pickle_as_what_they_are(zmq, where):
    module = importlib.import_module(zmq.__name__ + where)
    checked = 0
    for name, value in vars(module).items():
        if name.startswith("_") or not (inspect.isroutine(value) or isinstance(value, type)):
            continue
        assert pickle.loads(pickle.dumps(value)) is value, name
        checked += 1
    assert checked


def test_a_function_that_went_through_a_pickle_works(zmq):
    public, secret = pickle.loads(pickle.dumps(zmq.curve_keypair))()
    assert pickle.loads(pickle.dumps(zmq.curve_public))(secret) == public


def test_what_stands_for_the_process_does_not_pickle(zmq, ctx, make):
    with zmq.Context() as without_sockets:
        for thing in (without_sockets, ctx, make(zmq.PULL), zmq.Frame(b"x")):
            with pytest.raises(TypeError):
                pickle.dumps(thing)


def test_copies_stand_for_the_same_context_and_socket(zmq, ctx, make):
    socket = make(zmq.PULL)
    for duplicate in (copy.copy, copy.deepcopy):
        assert duplicate(ctx).underlying == ctx.underlying
        assert duplicate(socket).underlying == socket.underlying


def test_errors_and_constants_survive_a_pickle(zmq, make):
    with pytest.raises(zmq.ZMQError) as refused:
        make(zmq.REP).bind("tcp://1.2.3.4:1")
    errors = [refused.value, zmq.Again(), zmq.ContextTerminated(), zmq.ZMQBindError("no port")]
    for error in errors:
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is type(error) and str(again) == str(error)
            assert getattr(again, "errno", None) == getattr(error, "errno", None)
    for constant in (zmq.PUB, zmq.POLLIN, zmq.LINGER, zmq.EAGAIN):
        assert pickle.loads(pickle.dumps(constant)) is constant
