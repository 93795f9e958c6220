"""Socket options (socket/options.c) against the libzmq that pyzmq brings, call by call.

Both are driven through their C interface, so that lengths and (NULL, 0) are compared too. What is
different on purpose is in ``DIFFERENCES``; every entry there is also tested to be still needed.
"""

from __future__ import annotations

import ctypes
import errno
import random
import re
import struct
import time
from pathlib import Path

import pytest
from support.c import build_program, build_shared, run_program

SOURCES = (
    "socket/bytes.c",
    "socket/options.c",
    "socket/options_table.c",
    "socket/options_values.c",
    "pattern/options.c",
    "driver/address.c",
    "base/alloc.c",
    "base/lock.c",
    "base/secret.c",
    "base/check.c",
    "base/fds.c",
    "base/z85.c",
)
TYPES = "PAIR PUB SUB REQ REP DEALER ROUTER PULL PUSH XPUB XSUB STREAM".split()
OPTIONS = range(130)
OF_SOCKET = 1

INTS = (-(2**31), -6553700, -101, -100, -99, -2, -1, 0, 1, 2, 3, 4, 8, 99, 100, 150, 1500)
INTS += (65535, 65536, 6553599, 6553600, 2**31 - 1)
ROOMS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 39, 40, 41, 42, 64, 255, 256, 300, 1001)
SIZES = (0, 1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 39, 40, 41, 42, 254, 255, 256, 257, 1000)

SUBSCRIBE, UNSUBSCRIBE, LAST_ENDPOINT, FILTER, IPV6 = 6, 7, 32, 38, 42
PLAIN_SERVER, USERNAME, PASSWORD, CURVE_SERVER = 44, 45, 46, 47
CURVE_KEYS = (48, 49, 50)
DEVICE, METADATA = 92, 95

#: What ours answers otherwise than libzmq 4.3.5, and why.
DIFFERENCES = {
    "curve key, other room": "pyzmq reads bytes with 255 of room; libzmq takes 32 or 41 only",
    "curve key, short text": "libzmq decodes up to the first NUL and keeps a key half undefined",
    "device, inner NUL": "the kernel ends a device's name there, and so does ours",
    "filter, prefix over 32": "with IPV6=1 libzmq counts the bits of a mapped IPv4 address",
    "last endpoint, room": "checked where the endpoint is known, in the socket",
}


def i32(value: int) -> bytes:
    return struct.pack("=i", value)


class Libzmq:
    """One socket of the libzmq in pyzmq's wheel."""

    lib = None
    context = None

    @classmethod
    def load(cls):
        if cls.lib is None:
            zmq = pytest.importorskip("zmq")
            wheel = Path(zmq.__file__).parent.parent / "pyzmq.libs"
            files = sorted(wheel.glob("libsodium*")) + sorted(wheel.glob("libzmq*"))
            if len(files) < 2:
                pytest.skip("pyzmq is not the wheel that brings its own libzmq")
            libraries = [ctypes.CDLL(str(f), ctypes.RTLD_GLOBAL) for f in files]
            lib = libraries[-1]
            pointer = ctypes.c_void_p
            lib.zmq_ctx_new.restype = lib.zmq_socket.restype = pointer
            lib.zmq_socket.argtypes = [pointer, ctypes.c_int]
            lib.zmq_close.argtypes = lib.zmq_ctx_term.argtypes = [pointer]
            lib.zmq_setsockopt.argtypes = [pointer, ctypes.c_int, pointer, ctypes.c_size_t]
            lib.zmq_getsockopt.argtypes = [
                pointer,
                ctypes.c_int,
                pointer,
                ctypes.POINTER(ctypes.c_size_t),
            ]
            cls.lib = lib
        if cls.context is None:
            cls.context = cls.lib.zmq_ctx_new()
        return cls.lib

    def __init__(self, kind: int):
        self.load()
        end = time.monotonic() + 30
        while not (socket := self.lib.zmq_socket(self.context, kind)):
            assert time.monotonic() < end, "no socket: earlier ones were not reaped"
            time.sleep(0.001)
        self.socket = socket

    def set(self, option: int, value: bytes | None) -> int:
        size = 0 if value is None else len(value)
        if self.lib.zmq_setsockopt(self.socket, option, value, size) == 0:
            return 0
        return -self.lib.zmq_errno()

    def get(self, option: int, room: int) -> tuple[bytes, int] | int:
        out = ctypes.create_string_buffer(b"\xaa" * (room + 1), room + 1)
        size = ctypes.c_size_t(room)
        if self.lib.zmq_getsockopt(self.socket, option, out, ctypes.byref(size)):
            return -self.lib.zmq_errno()
        assert out.raw[room] == 0xAA
        return out.raw[:room], size.value

    def close(self) -> None:
        self.lib.zmq_close(self.socket)


class Ours:
    """The options of one socket of ours."""

    def __init__(self, lib, kind: int, blocky: int = 1, ipv6: int = 0, options=None):
        self.lib = lib
        self.kind = kind
        self.options = options or lib.shim_options_new(kind, blocky, ipv6)

    def set(self, option: int, value: bytes | None) -> int:
        size = 0 if value is None else len(value)
        return self.lib.zm_options_set(self.options, self.kind, option, value, size)

    def get(self, option: int, room: int) -> tuple[bytes, int] | int:
        out = ctypes.create_string_buffer(b"\xaa" * (room + 1), room + 1)
        size = ctypes.c_size_t(room)
        rc = self.lib.zm_options_get(self.options, self.kind, option, out, ctypes.byref(size))
        assert out.raw[room] == 0xAA
        return (out.raw[:room], size.value) if rc == 0 else rc

    def close(self) -> None:
        self.lib.shim_options_free(self.options)


class Bytes(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    lib = build_shared(tmp_path_factory.mktemp("c"), "options", "options_shim.c", *SOURCES)
    pointer = ctypes.c_void_p
    lib.shim_options_new.restype = lib.shim_options_copy.restype = pointer
    lib.shim_options_copy.argtypes = lib.shim_options_free.argtypes = [pointer]
    lib.shim_options_metadata.argtypes = [pointer]
    lib.shim_options_metadata.restype = ctypes.POINTER(Bytes)
    lib.zm_options_set.argtypes = [
        pointer,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    lib.zm_options_get.argtypes = [
        pointer,
        ctypes.c_int,
        ctypes.c_int,
        pointer,
        ctypes.POINTER(ctypes.c_size_t),
    ]
    return lib


@pytest.fixture
def pair_of(lib):
    """pair_of(type) -> (ours, libzmq's), both fresh; closed afterwards."""
    made = []

    def make(kind: int):
        both = Ours(lib, kind), Libzmq(kind)
        made.extend(both)
        return both

    yield make
    for each in made:
        each.close()
    if Libzmq.context:
        Libzmq.lib.zmq_ctx_term(Libzmq.context)
        Libzmq.context = None


def set_difference(option: int, value: bytes | None, ipv6: bool) -> str | None:
    if option in CURVE_KEYS and value and len(value) == 40 and b"\0" in value:
        return "curve key, short text"
    if option == FILTER and value and ipv6 and re.search(rb"^[^:]*/(3[3-9]|[4-9]\d|1\d\d)", value):
        return "filter, prefix over 32"
    if option == DEVICE and value and b"\0" in value:
        return "device, inner NUL"
    return None


def get_difference(option: int, room: int) -> str | None:
    if option in CURVE_KEYS and room not in (32, 41):
        return "curve key, other room"
    if option == LAST_ENDPOINT and room == 0:
        return "last endpoint, room"
    return None


def assert_same_get(ours, theirs, option: int, room: int) -> None:
    if get_difference(option, room):
        return
    mine, real = ours.get(option, room), theirs.get(option, room)
    if mine == OF_SOCKET:
        assert not isinstance(real, int), (TYPES[ours.kind], option, room)
    else:
        assert mine == real, (TYPES[ours.kind], option, room)


def assert_same_set(ours, theirs, option: int, value: bytes | None) -> bool:
    """Were both set, or was none? Where they differ on purpose, libzmq is left alone."""
    if set_difference(option, value, ours.get(IPV6, 4)[0] == i32(1)):
        return False
    mine, real = ours.set(option, value), theirs.set(option, value)
    assert (0 if mine == OF_SOCKET else mine) == real, (TYPES[ours.kind], option, value)
    return real == 0


every_type = pytest.mark.parametrize("kind", range(len(TYPES)), ids=TYPES)


@every_type
def test_a_fresh_socket_answers_every_get_as_libzmq_does(pair_of, kind):
    """All numbers, all sizes of room; what lies behind a short answer is zeroed (S-113)."""
    ours, theirs = pair_of(kind)
    for option in OPTIONS:
        for room in ROOMS:
            assert_same_get(ours, theirs, option, room)


@every_type
def test_every_number_is_taken_or_refused_and_read_back_as_by_libzmq(pair_of, kind):
    """Each int of INTS as 4 bytes, as 8 bytes, for every option."""
    ours, theirs = pair_of(kind)
    for option in OPTIONS:
        for number in INTS:
            for value in (i32(number), struct.pack("=q", number), struct.pack("=q", number << 31)):
                assert_same_set(ours, theirs, option, value)
                for room in (4, 8, 41, 256):
                    assert_same_get(ours, theirs, option, room)


@every_type
def test_every_length_is_taken_or_refused_and_read_back_as_by_libzmq(pair_of, kind):
    """Values of every size of SIZES, and (NULL, 0), for every option."""
    ours, theirs = pair_of(kind)
    for option in OPTIONS:
        for size in SIZES:
            for value in (b"x" * size, b"\1\0\0\0" * 250, None):
                assert_same_set(ours, theirs, option, value and value[:size])
                for room in (4, size, size + 1, 1001):
                    assert_same_get(ours, theirs, option, room)


@every_type
def test_any_sequence_of_sets_leaves_the_state_that_libzmq_has(pair_of, kind):
    """2000 random sets with plausible values; all readable options compared as it goes."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    ours, theirs = pair_of(kind)
    key = bytes(range(32))
    texts = [b"u", b"host:1080", b"a\0b", b"lo", b"X-a:b", key, b"0" * 40, b"%nSc0" * 8, None, b""]
    taken = 0
    for step in range(2000):
        value = rng.choice([i32(rng.choice(INTS)), i32(rng.choice((0, 1))), rng.choice(texts)])
        option = rng.choice(OPTIONS) if step % 2 else rng.randrange(40, 60)
        taken += assert_same_set(ours, theirs, option, value)
        for other in (option, rng.choice(OPTIONS), 43, 44, 47):
            assert_same_get(ours, theirs, other, rng.choice((4, 8, 32, 41, 256)))
    assert taken > 100


MECHANISMS = {
    "plain server": [(PLAIN_SERVER, i32(1)), (PLAIN_SERVER, i32(0))],
    "plain client after server": [(PLAIN_SERVER, i32(1)), (USERNAME, b"u"), (PASSWORD, b"p")],
    "curve off takes plain away": [(PLAIN_SERVER, i32(1)), (CURVE_SERVER, i32(0))],
    "keys keep the role": [(PLAIN_SERVER, i32(1)), (48, b"k" * 32), (49, b"k" * 32)],
    "a server key makes a client": [(CURVE_SERVER, i32(1)), (50, b"k" * 32)],
    "null takes security away": [(CURVE_SERVER, i32(1)), (USERNAME, None)],
    "nothing changes when refused": [(CURVE_SERVER, i32(1)), (USERNAME, b""), (44, i32(2))],
    "plain again after curve": [(50, b"k" * 32), (PASSWORD, b"p"), (PASSWORD, None)],
}


@pytest.mark.parametrize("steps", MECHANISMS.values(), ids=MECHANISMS)
def test_the_last_security_option_decides_the_mechanism(pair_of, steps):
    """semantics.md#mechanisms: MECHANISM, PLAIN_SERVER and CURVE_SERVER after each step."""
    ours, theirs = pair_of(0)
    for option, value in steps:
        assert_same_set(ours, theirs, option, value)
        for readable in (43, PLAIN_SERVER, CURVE_SERVER):
            assert ours.get(readable, 4) == theirs.get(readable, 4), (option, readable)


Z85 = b"0123456789" * 4
KEYS = [Z85, Z85 + b"\0", Z85 + b"x", b'"' + Z85[1:], b"\x80" + Z85[1:], b"%nSc0" * 8, b"%nSc1" * 8]
KEYS += [b"#####" * 8, b"\xff" * 32, Z85[:39], Z85[:35], Z85[:39] + b"\0\0", None, b"", b" " * 40]


@pytest.mark.parametrize("option", CURVE_KEYS)
@pytest.mark.parametrize("value", KEYS)
def test_curve_keys_are_taken_raw_or_as_z85(pair_of, option, value):
    ours, theirs = pair_of(5)
    assert_same_set(ours, theirs, option, b"k" * 32)
    assert_same_set(ours, theirs, option, value)
    for room in (32, 41):
        assert_same_get(ours, theirs, option, room)
    assert_same_get(ours, theirs, 43, 4)


FILTERS = """127.0.0.1 127.0.0.1/8 127.0.0.1/32 127.0.0.1/33 127.0.0.1/ 127.0.0.1/0 127.0.0.1/-1
    127.0.0.1/8x ::1 ::1/128 ::1/129 [::1] [::1]/64 localhost * lo 127.0.0.1/08 127.1 /8 /
    fe80::1%lo/64 fe80::1%lo 0.0.0.0/0 10.0.0.0/8/8 127.0.0.1:80 127.0.0.1/99999999999 eth0/8 ::/0
    2130706433 127.0.0.1/+8 [127.0.0.1]/8 [::1/64""".split()


FILTER_CASES = [(text, ipv6) for text in FILTERS for ipv6 in (0, 1)] + [("::ffff:10.0.0.1/104", 1)]


@pytest.mark.parametrize("text, ipv6", FILTER_CASES)
def test_accept_filters_are_taken_or_refused_as_by_libzmq(pair_of, text, ipv6):
    ours, theirs = pair_of(7)
    assert_same_set(ours, theirs, IPV6, i32(ipv6))
    for value in (text.encode(), text.encode() + b"\0", None):
        assert_same_set(ours, theirs, FILTER, value)


ENTRIES = [b"X-key:value", b"key:value", b"X-keyvalue", b":value", b"X-key:", b"X-k:v:w", b"X-:vvv"]
ENTRIES += [b"x-key:value", b"X-" + b"k" * 253 + b":v", b"X-" + b"k" * 254 + b":v", b"X-k:\0abc"]
ENTRIES += [b"X-k\0:abc", b"X-k:" + b"v" * 1000, b"X-k", b"X:abc", b"X-:v", b"", b"::x:y", None]


@pytest.mark.parametrize("entry", ENTRIES)
def test_metadata_entries_are_taken_or_refused_as_by_libzmq(pair_of, entry):
    ours, theirs = pair_of(5)
    assert_same_set(ours, theirs, METADATA, entry)


def test_metadata_is_kept_sorted_and_a_name_keeps_its_first_value(lib):
    """Captured from libzmq: a second value for a name is taken and ignored."""
    ours = Ours(lib, 5)
    for entry in (b"X-b:first", b"X-a:zz", b"X-b:second", b"X-long:" + b"v" * 300):
        assert ours.set(METADATA, entry) == 0
    kept = lib.shim_options_metadata(ours.options).contents
    assert ctypes.string_at(kept.data, kept.size) == (
        b"\x03X-a\0\0\0\x02zz\x03X-b\0\0\0\x05first\x06X-long\0\0\x01\x2c" + b"v" * 300
    )
    ours.close()


def test_subscriptions_by_option_need_a_subscriber_or_a_manual_publisher(lib):
    for kind, name in enumerate(TYPES):
        ours = Ours(lib, kind)
        for option in (SUBSCRIBE, UNSUBSCRIBE):
            expected = OF_SOCKET if name == "SUB" else -errno.EINVAL
            assert ours.set(option, b"topic") == expected, name
        if name in ("PUB", "XPUB"):
            for manual, expected in ((71, OF_SOCKET), (98, OF_SOCKET)):
                assert ours.set(manual, i32(1)) == 0
                assert ours.set(SUBSCRIBE, b"") == expected
                assert ours.set(manual, i32(0)) == 0
                assert ours.set(SUBSCRIBE, b"") == -errno.EINVAL
        ours.close()


def test_the_defaults_that_a_context_decides(lib):
    """BLOCKY=0 makes LINGER 0, IPV6 of the context is the socket's."""
    for blocky, ipv6 in ((0, 0), (1, 1)):
        ours = Ours(lib, 5, blocky, ipv6)
        assert ours.get(17, 4) == (i32(-1 if blocky else 0), 4)
        assert ours.get(IPV6, 4) == (i32(ipv6), 4)
        assert ours.get(31, 4) == (i32(1 - ipv6), 4)
        ours.close()


def test_the_differences_from_libzmq_are_what_they_are_said_to_be(lib, pair_of):
    """One example for each entry of DIFFERENCES, so that none outlives its reason."""
    seen = set()
    ours, theirs = pair_of(0)

    ours.set(48, Z85), theirs.set(48, Z85)
    assert theirs.get(48, 255) == -errno.EINVAL
    assert ours.get(48, 255) == (Z85.ljust(255, b"\0"), 41)
    assert ours.get(48, 40) == (Z85, 40)
    assert ours.get(48, 39) == -errno.EINVAL
    seen.add("curve key, other room")

    assert (ours.set(49, Z85[:20] + bytes(20)), theirs.set(49, Z85[:20] + bytes(20))) == (
        -errno.EINVAL,
        0,
    )
    seen.add("curve key, short text")

    ours.set(DEVICE, b"a\0b"), theirs.set(DEVICE, b"a\0b")
    assert (ours.get(DEVICE, 5), theirs.get(DEVICE, 5)) == ((b"a" + bytes(4), 2), (b"a\0b\0\0", 4))
    seen.add("device, inner NUL")

    ours.set(IPV6, i32(1)), theirs.set(IPV6, i32(1))
    assert (ours.set(FILTER, b"1.2.3.4/33"), theirs.set(FILTER, b"1.2.3.4/33")) == (
        -errno.EINVAL,
        0,
    )
    seen.add("filter, prefix over 32")

    assert (ours.get(LAST_ENDPOINT, 0), theirs.get(LAST_ENDPOINT, 0)) == (OF_SOCKET, -errno.EINVAL)
    seen.add("last endpoint, room")

    assert seen == set(DIFFERENCES)


@pytest.mark.parametrize("seed", [1, "random"])
def test_options_never_read_beyond_a_value_nor_leak_nor_half_change(tmp_path, seed):
    """Random sets under the sanitizers, with memory failing at every allocation in turn."""
    program = build_program(tmp_path, "options_memory", "options_memory.c", *SOURCES)
    run_program(program, random.randrange(1, 2**32) if seed == "random" else seed)


def test_z85_agrees_with_the_example_of_rfc_32_and_with_pyzmq(lib):
    z85 = pytest.importorskip("zmq.utils.z85")
    rng = random.Random(32)
    for raw in (bytes.fromhex("864fd26fb559f75b"), b"", bytes(4), b"\xff" * 8, rng.randbytes(64)):
        text = ctypes.create_string_buffer(len(raw) // 4 * 5 + 1)
        assert lib.zm_z85_encode(text, raw, len(raw)) == 0
        assert text.value == z85.encode(raw)
        back = ctypes.create_string_buffer(len(raw) + 1)
        assert lib.zm_z85_decode(back, text, len(text) - 1) == 0
        assert back.raw[: len(raw)] == raw
    text = ctypes.create_string_buffer(11)
    lib.zm_z85_encode(text, bytes.fromhex("864fd26fb559f75b"), 8)
    assert text.value == b"HelloWorld"
    assert lib.zm_z85_encode(text, b"12345", 5) == -errno.EINVAL
    assert lib.zm_z85_decode(text, b"1234", 4) == -errno.EINVAL
