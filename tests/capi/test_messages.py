"""zmq_msg_t: what it holds, who frees it, and how it travels."""

from __future__ import annotations

import ctypes
from errno import EAGAIN, EINVAL

import pytest
from support import eventually

PAIR, DEALER, ROUTER, PULL, PUSH = 0, 5, 6, 7, 8
MORE, SHARED = 1, 3
DONTWAIT, SNDMORE = 1, 2
ROUTING_ID, LINGER, LAST_ENDPOINT = 5, 17, 32
#: Inside a zmq_msg_t; in a block of its own; sent by reference.
SIZES = [0, 1, 40, 41, 8191, 8192, 300_000]
FREE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


@pytest.fixture
def message(face):
    """message(data) -> an initialised zmq_msg_t; all are closed afterwards."""
    made = []

    def message(data: bytes = b""):
        m = ctypes.create_string_buffer(64)
        assert face.zmq_msg_init_buffer(m, data, ctypes.c_size_t(len(data))) == 0
        made.append(m)
        return m

    yield message
    for m in made:
        face.zmq_msg_close(m)


@pytest.fixture
def text(face):
    def text(m) -> bytes:
        size = face.zmq_msg_size(m)
        return ctypes.string_at(face.zmq_msg_data(m), size) if size else b""

    return text


@pytest.fixture(params=["inproc", "tcp"])
def pair(face, context, request):
    """Two PAIRs that are connected."""
    a, b = face.zmq_socket(context, PAIR), face.zmq_socket(context, PAIR)
    endpoint = b"inproc://pair" if request.param == "inproc" else b"tcp://127.0.0.1:*"
    assert face.zmq_bind(a, endpoint) == 0
    name, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    assert face.zmq_getsockopt(a, LAST_ENDPOINT, name, ctypes.byref(size)) == 0
    assert face.zmq_connect(b, name.value) == 0
    yield a, b
    assert face.zmq_close(a) == 0
    assert face.zmq_close(b) == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_message_arrives_as_it_was(face, pair, message, text, size):
    a, b = pair
    data = bytes(i % 251 for i in range(size))
    sent = message(data)
    assert face.zmq_msg_send(sent, a, SNDMORE) == size
    assert (face.zmq_msg_size(sent), text(sent)) == (0, b"")
    assert face.zmq_send(a, data, ctypes.c_size_t(size), 0) == size
    got = message(b"something that is replaced")
    assert face.zmq_msg_recv(got, b, 0) == size
    assert text(got) == data
    assert face.zmq_msg_more(got) == 1
    buffer = ctypes.create_string_buffer(size + 1)
    assert face.zmq_recv(b, buffer, ctypes.c_size_t(size), 0) == size
    assert buffer.raw[:size] == data
    # What was received goes on as it is, and what is cut still tells its size.
    assert face.zmq_msg_send(got, b, 0) == size
    assert face.zmq_recv(a, buffer, ctypes.c_size_t(min(size, 3)), 0) == size
    assert buffer.raw[: min(size, 3)] == data[:3]
    assert face.refusal("zmq_msg_recv", got, a, DONTWAIT) == (-1, EAGAIN)


@pytest.fixture
def received(face, pair, text):
    """received(m, data): what m holds once data was received into it."""
    a, b = pair

    def received(m, data: bytes) -> bytes:
        assert face.zmq_send(a, data, ctypes.c_size_t(len(data)), 0) == len(data)
        assert face.zmq_msg_recv(m, b, 0) == len(data)
        return text(m)

    return received


@pytest.mark.parametrize("size", [41, 1000, 4096, 4097, 70_000])
def test_a_message_that_is_received_into_again_has_what_came_last(received, message, size):
    m = message()
    # Of other sizes in between, and of the same twice.
    for i, n in enumerate([size, size, 0, size, size + 1, size, 40, size, size]):
        data = bytes([i]) * n
        assert received(m, data) == data


@pytest.mark.parametrize("size", [41, 1000, 4096, 4097, 70_000])
def test_a_copy_keeps_its_bytes_while_its_origin_is_received_into(
    face, received, message, text, size
):
    m, copy = message(), message()
    first, second = b"1" * size, b"2" * size
    assert received(m, first) == first
    assert face.zmq_msg_copy(copy, m) == 0
    assert received(m, second) == second
    assert (text(copy), text(m)) == (first, second)
    assert face.zmq_msg_get(m, SHARED) == 0


def test_a_message_that_is_received_into_again_is_of_its_new_peer(face, context, message):
    router = face.zmq_socket(context, ROUTER)
    peers = [face.zmq_socket(context, DEALER) for _ in range(2)]
    assert face.zmq_bind(router, b"tcp://127.0.0.1:*") == 0
    name, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    assert face.zmq_getsockopt(router, LAST_ENDPOINT, name, ctypes.byref(size)) == 0
    m, body = message(), b"x" * 100
    for i, peer in enumerate(peers):
        assert face.zmq_setsockopt(peer, ROUTING_ID, b"peer%d" % i, ctypes.c_size_t(5)) == 0
        assert face.zmq_connect(peer, name.value) == 0
    for i in (0, 1, 0, 0, 1):
        assert face.zmq_send(peers[i], body, ctypes.c_size_t(100), 0) == 100
        for _ in range(2):
            assert face.zmq_msg_recv(m, router, 0) >= 0
        assert face.zmq_msg_gets(m, b"Identity") == b"peer%d" % i
    inproc = face.zmq_socket(context, PAIR), face.zmq_socket(context, PAIR)
    assert face.zmq_bind(inproc[0], b"inproc://known") == 0
    assert face.zmq_connect(inproc[1], b"inproc://known") == 0
    assert face.zmq_send(inproc[0], body, ctypes.c_size_t(100), 0) == 100
    assert face.zmq_msg_recv(m, inproc[1], 0) == 100
    assert face.zmq_msg_gets(m, b"Identity") is None
    for socket in (router, *peers, *inproc):
        assert face.zmq_close(socket) == 0


@pytest.mark.parametrize("size", SIZES[1:])
def test_foreign_memory_is_freed_once_whatever_becomes_of_it(face, pair, message, text, size):
    a, b = pair
    memory = ctypes.create_string_buffer(b"m" * size, size)
    freed = []
    free = FREE(lambda data, hint: freed.append((data, hint)))
    mine = (ctypes.addressof(memory), 7)

    def make():
        m = ctypes.create_string_buffer(64)
        face.zmq_msg_init_data(m, memory, ctypes.c_size_t(size), free, 7)
        assert face.zmq_msg_data(m) == ctypes.addressof(memory)
        return m

    assert face.zmq_msg_close(make()) == 0
    assert freed == [mine]
    one, copy = make(), message()
    assert face.zmq_msg_copy(copy, one) == 0
    assert (face.zmq_msg_get(one, SHARED), face.zmq_msg_get(copy, SHARED)) == (1, 1)
    face.zmq_msg_close(one)
    assert len(freed) == 1 and text(copy) == memory.raw
    moved = message(b"x" * 50)
    assert face.zmq_msg_move(moved, copy) == 0
    assert face.zmq_msg_size(copy) == 0
    face.zmq_msg_close(moved)
    assert freed == [mine, mine]
    one = make()
    assert face.zmq_msg_send(one, a, 0) == size
    got = message()
    assert face.zmq_msg_recv(got, b, 0) == size
    assert text(got) == memory.raw
    face.zmq_msg_close(got)
    eventually(lambda: len(freed) == 3)
    one = make()
    assert face.refusal("zmq_msg_send", one, None, 0)[0] == -1
    assert len(freed) == 3, "what was not sent is still the program's"
    face.zmq_msg_close(one)
    assert freed == [mine] * 4


@pytest.mark.parametrize("size", SIZES[1:])
def test_foreign_memory_is_kept_until_it_has_left(face, context, message, size):
    """zmq_msg_init_data(3): no copy is made, so that the program hears when it has left."""
    push = face.zmq_socket(context, PUSH)
    memory = ctypes.create_string_buffer(b"m" * size, size)
    freed = []
    free = FREE(lambda data, hint: freed.append(hint))
    one = ctypes.create_string_buffer(64)
    face.zmq_msg_init_data(one, memory, ctypes.c_size_t(size), free, 1)
    assert face.zmq_connect(push, b"tcp://127.0.0.1:1") == 0
    assert face.zmq_msg_send(one, push, 0) == size
    assert freed == []
    nothing = ctypes.c_int(0)
    face.zmq_setsockopt(push, LINGER, ctypes.byref(nothing), ctypes.c_size_t(4))
    assert face.zmq_close(push) == 0
    eventually(lambda: freed == [1])


def test_foreign_memory_of_no_bytes_may_be_null(face, pair):
    a, b = pair
    nothing, buffer = ctypes.c_size_t(0), ctypes.create_string_buffer(8)
    one = ctypes.create_string_buffer(64)
    for receive in (
        lambda: face.zmq_recv(b, buffer, ctypes.c_size_t(8), 0),
        lambda: face.zmq_msg_recv(one, b, 0),
    ):
        freed = []
        free = FREE(lambda data, hint, freed=freed: freed.append((data, hint)))
        face.zmq_msg_init_data(one, None, nothing, free, 1)
        assert face.zmq_msg_send(one, a, 0) == 0
        assert receive() == 0
        eventually(lambda freed=freed: freed == [(None, 1)])
        face.zmq_msg_close(one)


def test_constant_memory_is_never_freed_and_always_shared(face, pair, message, text):
    a, b = pair
    for size in (5, 10_000):
        memory = ctypes.create_string_buffer(b"c" * size, size)
        one = ctypes.create_string_buffer(64)
        face.zmq_msg_init_data(one, memory, ctypes.c_size_t(size), None, None)
        assert face.zmq_msg_get(one, SHARED) == 1
        copy = message()
        assert face.zmq_msg_copy(copy, one) == 0
        assert face.zmq_msg_send(one, a, 0) == size
        assert face.zmq_send_const(a, memory, ctypes.c_size_t(size), 0) == size
        for _ in range(2):
            got = message()
            assert face.zmq_msg_recv(got, b, 0) == size
            assert text(got) == memory.raw == text(copy)


def test_copies_of_small_messages_are_their_own(face, message, text):
    one, copy = message(b"small"), message(b"x" * 100)
    assert face.zmq_msg_copy(copy, one) == 0
    assert (face.zmq_msg_get(one, SHARED), face.zmq_msg_get(copy, SHARED)) == (0, 0)
    ctypes.memmove(face.zmq_msg_data(copy), b"S", 1)
    assert (text(one), text(copy)) == (b"small", b"Small")
    assert face.zmq_msg_copy(one, one) == face.zmq_msg_move(one, one) == 0
    assert text(one) == b"small"


def test_what_is_known_of_a_message(face, context, message):
    router, dealer = face.zmq_socket(context, ROUTER), face.zmq_socket(context, DEALER)
    assert face.zmq_bind(router, b"tcp://127.0.0.1:*") == 0
    name, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    face.zmq_getsockopt(router, LAST_ENDPOINT, name, ctypes.byref(size))
    face.zmq_connect(dealer, name.value)
    assert face.zmq_send(dealer, b"x", ctypes.c_size_t(1), 0) == 1
    got, copy = message(), message()
    face.zmq_msg_recv(got, router, 0)
    face.zmq_msg_copy(copy, got)
    face.zmq_msg_recv(got, router, 0)
    face.zmq_close(dealer)
    face.zmq_close(router)
    for m in (got, copy):
        assert face.zmq_msg_gets(m, b"Socket-Type") == b"DEALER"
        assert face.zmq_msg_gets(m, b"Peer-Address") == b"127.0.0.1"
        assert face.zmq_msg_get(m, 2) >= 0
    assert face.refusal("zmq_msg_gets", got, b"Nothing") == (None, EINVAL)
    assert face.refusal("zmq_msg_get", got, 99) == (-1, EINVAL)
    assert face.refusal("zmq_msg_set", got, MORE, 1) == (-1, EINVAL)
    assert face.refusal("zmq_msg_set_routing_id", got, 0) == (-1, EINVAL)
    assert face.zmq_msg_set_routing_id(got, 9) == 0
    assert face.zmq_msg_routing_id(got) == 9
    assert face.zmq_msg_group(got) == b""
    assert face.refusal("zmq_msg_set_group", got, b"g" * 256) == (-1, EINVAL)
    assert face.zmq_msg_set_group(got, b"g" * 255) == 0
    face.zmq_msg_copy(copy, got)
    assert face.zmq_msg_group(copy) == b"g" * 255


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


def test_several_parts_at_once(face, pair):
    a, b = pair
    parts = [b"", b"one", b"t" * 10_000]
    send = (Iovec * 3)()
    for place, part in zip(send, parts, strict=True):
        place.base, place.size = ctypes.cast(ctypes.c_char_p(part), ctypes.c_void_p), len(part)
    assert face.zmq_sendiov(a, send, ctypes.c_size_t(3), SNDMORE) == len(parts[-1])
    got, count = (Iovec * 5)(), ctypes.c_size_t(5)
    assert face.zmq_recviov(b, got, ctypes.byref(count), 0) == 3 == count.value
    free = ctypes.CDLL(None).free
    for place, part in zip(got[:3], parts, strict=True):
        assert ctypes.string_at(place.base, place.size) == part
        free(ctypes.c_void_p(place.base))
    none = ctypes.c_size_t(0)
    assert face.refusal("zmq_recviov", b, got, ctypes.byref(none), DONTWAIT) == (-1, EINVAL)
    assert face.refusal("zmq_sendiov", a, send, none, 0) == (-1, EINVAL)


@pytest.mark.parametrize("size", [41, 64, 4096, 8191, 8192])
def test_what_was_received_outlives_its_socket_and_context(face, message, text, size):
    """Small bodies share memory with others that came over inproc: each holds it by itself."""
    context = face.zmq_ctx_new()
    push, pull = face.zmq_socket(context, PUSH), face.zmq_socket(context, PULL)
    assert face.zmq_bind(pull, b"inproc://outlives") == 0
    assert face.zmq_connect(push, b"inproc://outlives") == 0
    bodies = [bytes([i]) * size for i in range(20)]
    got = []
    for body in bodies:
        assert face.zmq_send(push, body, ctypes.c_size_t(size), 0) == size
        got.append(message())
        assert face.zmq_msg_recv(got[-1], pull, 0) == size
    for changed in got[::2]:  # what is received may be written to
        ctypes.memset(face.zmq_msg_data(changed), 0xFF, size)
    for i in (3, 0, 19):
        assert face.zmq_msg_close(got[i]) == 0
        got[i] = message()
    assert (face.zmq_close(push), face.zmq_close(pull), face.zmq_ctx_term(context)) == (0, 0, 0)
    expected = [b"\xff" * size if i % 2 == 0 else body for i, body in enumerate(bodies)]
    expected[0] = expected[3] = expected[19] = b""
    assert [text(m) for m in got] == expected
