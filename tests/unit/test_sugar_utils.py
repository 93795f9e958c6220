"""utils: Z85, JSON, addresses, monitor messages, the old string helpers."""

from __future__ import annotations

import asyncio
import importlib
import struct

import pytest


@pytest.fixture
def util(zmq):
    return lambda name: importlib.import_module(f"{zmq.__name__}.utils.{name}")


# --- z85 -------------------------------------------------------------------------------------


def test_z85_is_that_of_rfc_32(util):
    raw = bytes.fromhex("864FD26FB559F75B")
    assert util("z85").encode(raw) == b"HelloWorld"
    assert util("z85").decode(b"HelloWorld") == util("z85").decode("HelloWorld") == raw


def test_z85_survives_the_round_trip_at_the_edges(util):
    z85 = util("z85")
    for raw in (b"", b"\0" * 4, b"\xff" * 4, bytes(range(256)), memoryview(b"abcdefgh")):
        assert z85.decode(z85.encode(raw)) == bytes(raw)


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        ("encode", b"abc", ValueError),
        ("encode", "abcd", TypeError),
        ("decode", b"abcd", ValueError),
        ("decode", "ab\xe9cd", ValueError),
        ("decode", b"ab cd", KeyError),
        ("decode", b"#####", struct.error),
    ],
)
def test_z85_refuses_what_it_cannot_represent(util, call, argument, error):
    with pytest.raises(error):
        getattr(util("z85"), call)(argument)


# --- jsonapi -----------------------------------------------------------------------------------


def test_json_is_utf8_bytes(util):
    json = util("jsonapi")
    assert json.dumps({"a": [1, None]}) == b'{"a": [1, null]}'
    assert json.dumps([1, 2], separators=(",", ":")) == b"[1,2]"
    assert json.dumps("é", ensure_ascii=False) == b'"\xc3\xa9"'
    assert json.loads(b'"\xc3\xa9"') == json.loads('"é"') == "é"
    assert json.loads(b"1", parse_int=float) == 1.0


def test_json_that_is_none_is_refused(util):
    with pytest.raises(ValueError):
        util("jsonapi").loads(b"{")
    with pytest.raises(UnicodeDecodeError):
        util("jsonapi").loads(b"\xff")
    with pytest.raises(TypeError):
        util("jsonapi").dumps(object())


# --- interop -----------------------------------------------------------------------------------


def test_ints_and_cffi_values_are_addresses(util):
    cffi = pytest.importorskip("cffi")
    cast = util("interop").cast_int_addr
    ffi = cffi.FFI()
    assert cast(5) == 5
    assert cast(ffi.cast("void *", 9)) == 9
    assert cast(ffi.cast("size_t", 9)) == 9


@pytest.mark.parametrize("value", ["x", b"x", None, 5.0, object()])
def test_other_values_are_no_addresses(util, value):
    with pytest.raises(ValueError, match="Cannot cast"):
        util("interop").cast_int_addr(value)


# --- monitor -----------------------------------------------------------------------------------


def test_a_monitor_message_is_taken_apart(zmq, util):
    message = [struct.pack("=hi", zmq.EVENT_CONNECTED, 9), b"tcp://127.0.0.1:1"]
    parsed = util("monitor").parse_monitor_message(message)
    assert parsed == {"event": zmq.EVENT_CONNECTED, "value": 9, "endpoint": b"tcp://127.0.0.1:1"}
    assert isinstance(parsed["event"], zmq.Event)
    assert isinstance(parsed["value"], zmq.Event)


def test_the_value_of_a_protocol_error_names_it(zmq, util):
    error = zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
    message = [struct.pack("=hi", zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, error), b""]
    assert util("monitor").parse_monitor_message(message)["value"] is error


@pytest.mark.parametrize(
    "message", [[b"short", b""], [bytes(6)], [bytes(6), b"", b""], [bytes(7), b""]]
)
def test_what_is_no_monitor_message_is_refused(util, message):
    with pytest.raises(RuntimeError, match="Invalid event message format"):
        util("monitor").parse_monitor_message(message)


def test_a_monitor_message_is_awaited_when_the_socket_answers_later(zmq, util):
    class LaterSocket:
        async def recv_multipart(self, flags=0):
            return [struct.pack("=hi", zmq.EVENT_LISTENING, 3), b"here"]

    parsed = asyncio.run(util("monitor").recv_monitor_message(LaterSocket()))
    assert (parsed["event"], parsed["endpoint"]) == (zmq.EVENT_LISTENING, b"here")


# --- garbage, strtypes ---------------------------------------------------------------------------


def test_gc_keeps_what_is_stored_under_the_key_it_answers(util, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq's would start its thread")
    gc = util("garbage").GarbageCollector()
    key = gc.store(body := bytearray(b"x"))
    assert gc.refs[key].obj is body
    assert gc.refs[key].event is None


def test_the_old_string_helpers_work_and_warn(util):
    strtypes = util("strtypes")
    with pytest.warns(DeprecationWarning, match="strtypes"):
        assert strtypes.cast_bytes("é") == b"\xc3\xa9"
    with pytest.warns(DeprecationWarning, match="strtypes"):
        assert strtypes.cast_unicode(b"a") == "a"
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError):
        strtypes.cast_unicode(5)
    assert (strtypes.unicode, strtypes.bytes, strtypes.basestring) == (str, bytes, (str,))
    assert strtypes.b is strtypes.asbytes and strtypes.u is strtypes.cast_unicode
