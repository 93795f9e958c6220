"""Every socket option on every socket type, against real pyzmq in the same process.

semantics.md#socket-options. On pyzmq itself the comparisons prove nothing; the tables of
facts further down do.
"""

from __future__ import annotations

import errno
import threading

import pytest
from support import errno_of

KINDS = [
    "PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB",
    "STREAM",
]  # fmt: skip
#: Numbers that differ by nature; only their kind is compared.
DESCRIPTORS = {"FD"}
#: pyzmq cannot read these (its buffer has the wrong size: docs/reference/parity.md); ours may.
UNREADABLE = {"CURVE_PUBLICKEY", "CURVE_SECRETKEY", "CURVE_SERVERKEY"}
INTEGERS = [
    -(2**31), -1000, -101, -100, -99, -2, -1, 0, 1, 2, 3, 4, 7, 8, 99, 100, 254, 255, 256, 1000,
    65_535, 65_536, 6_553_599, 6_553_600, 2**31 - 1,
]  # fmt: skip
BIG_INTEGERS = [2**31, 2**32, 2**63 - 1, -(2**63), 2**63, 2**64]
BYTES = [
    b"", b"\0", b"a", b"abcd", b"a" * 15, b"a" * 16, b"a" * 17, b"a" * 31, b"a" * 32, b"a" * 33,
    b"a" * 40, b"a" * 41, b"a" * 254, b"a" * 255, b"a" * 256, b"a" * 1000, b"trailing\0", b"X-a:b",
    b"127.0.0.1/8", b"rpcs?[6#HJ@Y!#*p*=-CmK<2I>G2^]0p<OH>gC9b", b"\xff" * 20,
]  # fmt: skip
OTHERS = ["text", 1.5, None, bytearray(b"x"), memoryview(b"x"), True, [1]]


def outcome(call, *args):
    """What a call did, in a form that can be compared between two modules."""
    try:
        value = call(*args)
    except Exception as e:
        number = getattr(e, "errno", None)
        return type(e).__name__ if number is None else (type(e).__name__, number)
    return "ok", value


@pytest.fixture
def twins(zmq, pyzmq, ctx, peer_ctx):
    """twins(kind) -> a socket of ours and one of pyzmq's."""
    opened = []

    def make_twins(kind):
        pair = (ctx.socket(getattr(zmq, kind)), peer_ctx.socket(getattr(pyzmq, kind)))
        opened.extend(pair)
        return pair

    yield make_twins
    for s in opened:
        s.close(linger=0)


def options(pyzmq):
    return list(pyzmq.SocketOption)


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_those_of_pyzmq(pyzmq, twins, kind):
    """Appendix A: all options, one socket type."""
    mine, theirs = twins(kind)
    differences = {}
    for option in options(pyzmq):
        if option.name in UNREADABLE:
            continue
        a, b = outcome(mine.getsockopt, int(option)), outcome(theirs.getsockopt, int(option))
        if option.name in DESCRIPTORS:
            a, b = (a[0], a[1] >= 0), (b[0], b[1] >= 0)
        if a != b:
            differences[option.name] = (a, b)
    assert not differences, "option: (ours, pyzmq's)"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_options_can_be_set(pyzmq, twins, kind):
    """Appendix A: 1 or b"abc", a fresh socket each; and what they read afterwards."""
    differences = {}
    for option in options(pyzmq):
        mine, theirs = twins(kind)
        value = b"abc" if option._opt_type.name == "bytes" else 1
        a = outcome(mine.setsockopt, int(option), value)
        b = outcome(theirs.setsockopt, int(option), value)
        if option.name not in DESCRIPTORS | UNREADABLE:
            a = a, outcome(mine.getsockopt, int(option))
            b = b, outcome(theirs.getsockopt, int(option))
        if a != b:
            differences[option.name] = (a, b)
        mine.close(linger=0)
        theirs.close(linger=0)
    assert not differences, "option: (ours, pyzmq's)"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_values_are_accepted(pyzmq, twins, kind):
    """Every option, many values, one after the other on one socket."""
    mine, theirs = twins(kind)
    differences = {}
    for option in options(pyzmq):
        is_bytes = option._opt_type.name == "bytes"
        for value in BYTES if is_bytes else INTEGERS + BIG_INTEGERS:
            if option.name == "BINDTODEVICE" and b"\0" in value:
                continue  # libzmq keeps the zero in the name, to no purpose
            a = outcome(mine.setsockopt, int(option), value)
            b = outcome(theirs.setsockopt, int(option), value)
            if option.name not in DESCRIPTORS | UNREADABLE:
                a = a, outcome(mine.getsockopt, int(option))
                b = b, outcome(theirs.getsockopt, int(option))
            if a != b:
                differences[option.name, value] = (a, b)
    assert not differences, "(option, value): (ours, pyzmq's)"


@pytest.mark.parametrize("kind", ["DEALER", "XPUB", "SUB"])
def test_the_same_python_types_are_refused(pyzmq, twins, kind):
    """set(): str, float, None, buffers."""
    mine, theirs = twins(kind)
    differences = {}
    for option in options(pyzmq):
        for value in OTHERS:
            a = outcome(mine.setsockopt, int(option), value)
            b = outcome(theirs.setsockopt, int(option), value)
            if a != b:
                differences[option.name, repr(value)] = (a, b)
    assert not differences, "(option, value): (ours, pyzmq's)"


@pytest.mark.parametrize(
    "number", [-1, 0, 2, 3, 10, 20, 26, 29, 30, 67, 82, 83, 125, 1000, 2**31 - 1]
)
def test_unknown_options_are_invalid(twins, number):
    """semantics.md#socket-options: EINVAL, get and set."""
    mine, theirs = twins("DEALER")
    assert outcome(mine.getsockopt, number) == outcome(theirs.getsockopt, number)
    assert outcome(mine.setsockopt, number, 1) == outcome(theirs.setsockopt, number, 1)
    assert outcome(mine.setsockopt, number, 1)[1] == errno.EINVAL


# --- facts that do not lean on the comparison ----------------------------------------------------

TIME = ([0, 1, 2**31 - 1], [-1, -2])
TIME_OR_NEVER = ([-1, 0, 1, 2**31 - 1], [-2, -(2**31)])
SWITCH = ([0, 1], [-1, 2, 100])
COUNT = ([0, 1, 2**31 - 1], [-1])
ANY_SWITCH = ([0, 1, 5, -1], [])

FACTS = {
    # name: (kind, default, (good values, bad values))
    "LINGER": ("PUSH", -1, TIME_OR_NEVER),
    "RCVTIMEO": ("PUSH", -1, TIME_OR_NEVER),
    "SNDTIMEO": ("PUSH", -1, TIME_OR_NEVER),
    "SNDHWM": ("PUSH", 1000, COUNT),
    "RCVHWM": ("PUSH", 1000, COUNT),
    "BACKLOG": ("PUSH", 100, COUNT),
    "RECONNECT_IVL": ("PUSH", 100, TIME_OR_NEVER),
    "RECONNECT_IVL_MAX": ("PUSH", 0, TIME),
    "HANDSHAKE_IVL": ("PUSH", 30_000, TIME),
    "CONNECT_TIMEOUT": ("PUSH", 0, TIME),
    "TCP_MAXRT": ("PUSH", 0, TIME),
    "HEARTBEAT_IVL": ("PUSH", 0, TIME),
    "HEARTBEAT_TIMEOUT": ("PUSH", -1, TIME),
    "TCP_KEEPALIVE": ("PUSH", -1, ([-1, 0, 1], [-2, 2])),
    "TCP_KEEPALIVE_CNT": ("PUSH", -1, ([-1, 0, 1, 100], [-2])),
    "TCP_KEEPALIVE_IDLE": ("PUSH", -1, ([-1, 0, 1, 100], [-2])),
    "TCP_KEEPALIVE_INTVL": ("PUSH", -1, ([-1, 0, 1, 100], [-2])),
    "IMMEDIATE": ("PUSH", 0, SWITCH),
    "IPV6": ("PUSH", 0, SWITCH),
    "CONFLATE": ("PUSH", 0, SWITCH),
    "TOS": ("PUSH", 0, COUNT),
    "SNDBUF": ("PUSH", -1, TIME_OR_NEVER),
    "RCVBUF": ("PUSH", -1, TIME_OR_NEVER),
    "USE_FD": ("PUSH", -1, TIME_OR_NEVER),
    "RATE": ("PUSH", 100, ([1, 2**31 - 1], [0, -1])),
    "RECOVERY_IVL": ("PUSH", 10_000, TIME),
    "MULTICAST_HOPS": ("PUSH", 1, ([1, 255], [0, -1])),
    "MULTICAST_MAXTPDU": ("PUSH", 1500, ([1, 9000], [0, -1])),
    "MAXMSGSIZE": ("PUSH", -1, ([-1, 0, 1, 2**40, -(2**63), 2**63 - 1], [])),
    "AFFINITY": ("PUSH", 0, ([0, 1, 2**63 - 1], [])),
    "INVERT_MATCHING": ("PUB", 0, ANY_SWITCH),
}


@pytest.mark.parametrize("name", FACTS)
def test_an_option_has_its_default_and_its_range(zmq, ctx, name):
    """semantics.md#socket-options: bad values are EINVAL and change nothing."""
    kind, default, (good, bad) = FACTS[name]
    with ctx.socket(getattr(zmq, kind)) as s:
        option = getattr(zmq, name)
        assert s.getsockopt(option) == default
        for value in bad:
            assert errno_of(zmq.ZMQError, s.setsockopt, option, value) == errno.EINVAL
            assert s.getsockopt(option) == default
        for value in good:
            s.setsockopt(option, value)
            is_switch = name == "INVERT_MATCHING"
            assert s.getsockopt(option) == (bool(value) if is_switch else value)


@pytest.mark.parametrize("kind", ["SUB", "XSUB"])
def test_subscribers_do_not_linger(zmq, ctx, kind):
    """semantics.md#socket-options, LINGER."""
    with ctx.socket(getattr(zmq, kind)) as s:
        assert s.linger == 0


def test_ipv4only_is_the_inverse_of_ipv6(zmq, ctx):
    """semantics.md#socket-options, IPV4ONLY."""
    with ctx.socket(zmq.PUSH) as s:
        s.ipv6 = 1
        assert s.getsockopt(zmq.IPV4ONLY) == 0
        s.setsockopt(zmq.IPV4ONLY, 1)
        assert s.ipv6 == 0


@pytest.mark.parametrize("size", [1, 5, 254, 255])
def test_a_routing_id_has_1_to_255_bytes(zmq, ctx, size):
    """semantics.md#socket-options: any bytes, zeros at both ends too."""
    with ctx.socket(zmq.DEALER) as s:
        name = (b"\0" + bytes(range(1, 255)))[: size - 1] + b"\0"
        s.routing_id = name
        assert s.getsockopt(zmq.ROUTING_ID) == name
        for bad in (b"", b"x" * 256):
            assert errno_of(zmq.ZMQError, s.setsockopt, zmq.ROUTING_ID, bad) == errno.EINVAL
        assert s.getsockopt(zmq.IDENTITY) == name


def test_the_mechanism_follows_the_last_option_set(zmq, ctx):
    """semantics.md#mechanisms: PLAIN and CURVE options switch it; 0 switches back."""
    with ctx.socket(zmq.DEALER) as s:
        assert s.mechanism == zmq.NULL
        s.plain_username = b"u"
        assert (s.mechanism, s.plain_server) == (zmq.PLAIN, 0)
        s.plain_server = 1
        assert (s.mechanism, s.plain_server, s.curve_server) == (zmq.PLAIN, 1, 0)
        s.curve_server = 1
        assert (s.mechanism, s.plain_server, s.curve_server) == (zmq.CURVE, 0, 1)
        s.curve_server = 0
        assert s.mechanism == zmq.NULL
        s.curve_serverkey = b"k" * 32
        assert (s.mechanism, s.curve_server) == (zmq.CURVE, 0)
        s.plain_server = 0
        assert s.mechanism == zmq.NULL
        s.plain_password = b"p"
        assert s.mechanism == zmq.PLAIN


@pytest.mark.parametrize("name", ["CURVE_PUBLICKEY", "CURVE_SECRETKEY", "CURVE_SERVERKEY"])
def test_a_curve_key_is_32_bytes_or_40_characters(zmq, ctx, name):
    """semantics.md#socket-options."""
    if not zmq.has("curve"):
        pytest.skip("built without CURVE")
    public, _ = zmq.curve_keypair()
    with ctx.socket(zmq.DEALER) as s:
        option = getattr(zmq, name)
        for good in (public, b"\xf0" * 32):
            s.setsockopt(option, good)
            assert s.mechanism == zmq.CURVE
        for bad in (b"", b"x" * 31, b"x" * 33, b"x" * 39, b"x" * 42, b"~" * 40):
            assert errno_of(zmq.ZMQError, s.setsockopt, option, bad) == errno.EINVAL


def test_hwm_sets_both(zmq, ctx):
    """The getter is SNDHWM."""
    with ctx.socket(zmq.DEALER) as s:
        s.hwm = 5
        assert (s.sndhwm, s.rcvhwm, s.hwm) == (5, 5, 5)
        s.rcvhwm = 6
        assert s.hwm == s.get_hwm() == 5
        s.set_hwm(7)
        assert (s.sndhwm, s.rcvhwm) == (7, 7)
        assert errno_of(zmq.ZMQError, s.set_hwm, -1) == errno.EINVAL


def test_a_closed_socket_has_no_options(zmq, ctx):
    """semantics.md#errors: ENOTSOCK, known or unknown option."""
    s = ctx.socket(zmq.DEALER)
    s.close()
    for option in (zmq.LINGER, zmq.EVENTS, zmq.ROUTING_ID, 1000):
        assert errno_of(zmq.ZMQError, s.getsockopt, option) == errno.ENOTSOCK
        value = b"x" if option == zmq.ROUTING_ID else 1
        assert errno_of(zmq.ZMQError, s.setsockopt, option, value) == errno.ENOTSOCK


def test_after_term_every_option_says_so(zmq):
    """semantics.md#errors, S-47: ETERM, known or unknown option."""
    context = zmq.Context()
    s = context.socket(zmq.DEALER)
    ender = threading.Thread(target=context.term)
    ender.start()
    try:
        assert errno_of(zmq.ContextTerminated, s.recv) == zmq.ETERM
        for option in (zmq.LINGER, zmq.EVENTS, zmq.ROUTING_ID, 1000):
            assert errno_of(zmq.ContextTerminated, s.getsockopt, option) == zmq.ETERM
            value = b"x" if option == zmq.ROUTING_ID else 1
            assert errno_of(zmq.ContextTerminated, s.setsockopt, option, value) == zmq.ETERM
    finally:
        s.close(linger=0)
        ender.join(30)
    assert not ender.is_alive()


@pytest.mark.parametrize("kind", ["PULL", "DEALER"])
def test_options_can_be_read_as_attributes_in_any_case(zmq, ctx, kind):
    """Also through all other constants of that number."""
    with ctx.socket(getattr(zmq, kind)) as s:
        assert s.sndhwm == s.SNDHWM == s.SndHwm == 1000
        s.SndHWM = 7
        assert s.sndhwm == 7
        assert s.push == 100, "PUSH is 8, and option 8 is RATE"
        with pytest.raises(AttributeError):
            _ = s.no_such_thing
        with pytest.raises(AttributeError):
            s.no_such_thing = 1
        with pytest.raises(AttributeError):
            _ = s.router_mandatory  # write-only
