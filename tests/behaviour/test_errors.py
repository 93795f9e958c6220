"""Which call answers with which error (semantics.md#errors)."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from support import (
    RawListener,
    bind,
    dead_endpoint,
    fresh_inproc,
    module_source,
    port_of,
    refused,
    run_python,
)

EFSM, ENOCOMPATPROTO, ETERM, EMTHREAD = (156384712 + n for n in (51, 52, 53, 54))


# --- the numbers themselves ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, number, text",
    [
        ("EFSM", EFSM, "Operation cannot be accomplished in current state"),
        ("ENOCOMPATPROTO", ENOCOMPATPROTO, "The protocol is not compatible with the socket type"),
        ("ETERM", ETERM, "Context was terminated"),
        ("EMTHREAD", EMTHREAD, "No thread available"),
    ],
)
def test_zeromq_s_own_errors_have_numbers_and_texts(zmq, name, number, text):
    """On top of HAUSNUMERO."""
    assert getattr(zmq, name) == number
    assert zmq.strerror(number) == text
    assert str(zmq.ZMQError(number)) == text


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINVAL, errno.ENOTSOCK, errno.ENOENT])
def test_the_system_s_errors_have_the_system_s_texts(zmq, number):
    assert zmq.strerror(number) == os.strerror(number)


def test_unreachable_hosts_are_unreachable(zmq):
    """The text is libzmq's own here."""
    assert zmq.strerror(errno.EHOSTUNREACH) in ("Host unreachable", os.strerror(errno.EHOSTUNREACH))


def test_the_last_errno_is_that_of_the_last_failure(zmq, make):
    """zmq_errno()."""
    s = make(zmq.REP)
    with refused(zmq, EFSM):
        s.send(b"x")
    assert zmq.zmq_errno() == EFSM
    with refused(zmq, errno.EINVAL):
        s.bind("bogus")
    assert zmq.zmq_errno() == errno.EINVAL


# --- closed sockets ------------------------------------------------------------------------------


CALLS = {
    "bind": lambda zmq, s: s.bind("inproc://x"),
    "connect": lambda zmq, s: s.connect("inproc://x"),
    "unbind": lambda zmq, s: s.unbind("inproc://x"),
    "disconnect": lambda zmq, s: s.disconnect("inproc://x"),
    "set": lambda zmq, s: s.set(zmq.LINGER, 0),
    "get": lambda zmq, s: s.get(zmq.LINGER),
    "get bytes": lambda zmq, s: s.get(zmq.ROUTING_ID),
    "attribute": lambda zmq, s: s.linger,
    "send": lambda zmq, s: s.send(b"x"),
    "send frame": lambda zmq, s: s.send(b"x", copy=False),
    "send_multipart": lambda zmq, s: s.send_multipart([b"x", b"y"]),
    "recv": lambda zmq, s: s.recv(),
    "recv frame": lambda zmq, s: s.recv(copy=False),
    "recv DONTWAIT": lambda zmq, s: s.recv(zmq.DONTWAIT),
    "recv_into": lambda zmq, s: s.recv_into(bytearray(1)),
    "monitor": lambda zmq, s: s.monitor("inproc://m", zmq.EVENT_ALL),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_socket_is_not_a_socket(zmq, make, name):
    """ENOTSOCK."""
    s = make(zmq.DEALER)
    s.close()
    with refused(zmq, errno.ENOTSOCK):
        CALLS[name](zmq, s)


def test_polling_a_closed_socket(zmq, make, on_libzmq):
    """Socket.poll refuses with ENOTSUP; a poll over it has nothing to say of it.

    Under pyzmq the null handle of a closed socket makes libzmq poll descriptor 0 instead.
    """
    s = make(zmq.DEALER)
    s.close()
    with refused(zmq, errno.ENOTSUP):
        s.poll(0)
    assert [x for x in zmq.zmq_poll([(s, zmq.POLLIN)], 0) if x[0] != 0] == []


@pytest.fixture
def ours(on_libzmq):
    if on_libzmq:
        pytest.skip("with libzmq the number is a pointer, and a stale one crashes")


@pytest.mark.parametrize("name", CALLS)
def test_a_stale_handle_is_not_a_socket(zmq, make, name, ours):
    """D14: `underlying` outlives its socket harmlessly, also when its place is used again."""
    s = make(zmq.DEALER)
    stale = zmq.Socket.shadow(s.underlying)
    s.close()
    others = [make(zmq.DEALER) for _ in range(50)]
    with refused(zmq, errno.ENOTSOCK):
        CALLS[name](zmq, stale)
    assert all(o.get(zmq.LINGER) == 0 for o in others)
    assert stale.closed


@pytest.mark.parametrize("number", [1, 12345, 1 << 40, (1 << 62) + 7])
def test_any_number_may_pose_as_a_handle(zmq, ctx, number, ours):
    """D14: ENOTSOCK for sockets, EFAULT for contexts."""
    with refused(zmq, errno.ENOTSOCK):
        zmq.Socket.shadow(number).get(zmq.LINGER)
    with refused(zmq, errno.EFAULT):
        zmq.Context.shadow(number).socket(zmq.PUSH)
    assert ctx.socket(zmq.PUSH).get(zmq.TYPE) == zmq.PUSH


# --- socket() and context options ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [21, 99, 1 << 20])
def test_unknown_socket_types_are_refused(zmq, ctx, kind):
    with refused(zmq, errno.EINVAL):
        ctx.socket(kind)


def test_draft_types_are_refused_in_a_stable_build(zmq, ctx, on_libzmq):
    """differences.md: libzmq makes them and dies at the first handshake."""
    if on_libzmq or zmq.DRAFT_API:
        pytest.skip("libzmq lets them be made" if on_libzmq else "drafts are on")
    for kind in range(12, 21):
        with refused(zmq, errno.EINVAL):
            ctx.socket(kind)


def test_a_terminated_context_makes_no_sockets(zmq):
    context = zmq.Context()
    shadow = zmq.Context.shadow(context.underlying)
    context.term()
    with pytest.raises(zmq.ZMQError):
        context.socket(zmq.PUSH)
    with refused(zmq, errno.EFAULT):
        shadow.socket(zmq.PUSH)


def test_io_threads_may_not_be_negative(zmq):
    with refused(zmq, errno.EINVAL):
        zmq.Context(-1)


def test_without_io_threads_only_inproc_works(zmq, ipc_address):
    """EMTHREAD for tcp and ipc."""
    with zmq.Context(io_threads=0) as context:
        with context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
            for address in ("tcp://127.0.0.1:*", ipc_address):
                with refused(zmq, EMTHREAD):
                    pull.bind(address)
            with refused(zmq, EMTHREAD):
                push.connect("tcp://127.0.0.1:1")
            push.connect(bind(pull, fresh_inproc()))
            push.send(b"x")
            assert pull.recv() == b"x"


# --- endpoints -----------------------------------------------------------------------------------


MALFORMED = [
    "",
    "bogus",
    "://",
    "tcp",
    "tcp:",
    "tcp://",
    "tcp:/127.0.0.1:5555",
    "tcp://127.0.0.1",
    "tcp://*",
    "tcp://127.0.0.1:",
    "tcp://127.0.0.1:http",
    "ipc://",
    "inproc://",
    "://127.0.0.1:5555",
    "ipc://@",
]


@pytest.mark.parametrize("address", MALFORMED)
@pytest.mark.parametrize("call", ["bind", "connect"])
def test_malformed_endpoints_are_refused(zmq, make, call, address):
    """EINVAL, and the error names the address."""
    s = make(zmq.PUSH)
    with refused(zmq, errno.EINVAL) as info:
        getattr(s, call)(address)
    assert f"(addr={address!r})" in str(info.value)


@pytest.mark.parametrize(
    "address", ["ftl://a", "http://localhost:1", "TCP://127.0.0.1:5555", " tcp://a:1"]
)
@pytest.mark.parametrize("call", ["bind", "connect"])
def test_unknown_transports_are_not_supported(zmq, make, call, address):
    """EPROTONOSUPPORT; transports are lower case."""
    with refused(zmq, errno.EPROTONOSUPPORT) as info:
        getattr(make(zmq.PUSH), call)(address)
    assert f"(addr={address!r})" in str(info.value)


@pytest.mark.parametrize("kind", ["PUSH", "SUB", "PAIR", "ROUTER", "STREAM"])
def test_udp_is_not_for_these_types(zmq, make, kind):
    """ENOCOMPATPROTO."""
    with refused(zmq, ENOCOMPATPROTO):
        make(getattr(zmq, kind)).bind("udp://127.0.0.1:5555")
    with refused(zmq, ENOCOMPATPROTO):
        make(getattr(zmq, kind)).connect("udp://127.0.0.1:5555")


@pytest.mark.parametrize(
    "address, error",
    [
        ("tcp://no-such-interface-here:*", errno.ENODEV),
        ("tcp://[::1]:*", errno.ENODEV),
        ("tcp://256.1.1.1:*", errno.ENODEV),
        ("tcp://192.0.2.77:*", errno.EADDRNOTAVAIL),
    ],
)
def test_addresses_that_are_not_ours_cannot_be_bound(zmq, make, address, error):
    """ENODEV: no such interface, or IPv6 without the option; EADDRNOTAVAIL: not local."""
    with refused(zmq, error) as info:
        make(zmq.PULL).bind(address)
    assert f"(addr={address!r})" in str(info.value)


@pytest.mark.parametrize("port", ["99999", "65536", "-1", "70000"])
def test_ports_out_of_range(zmq, make, port, on_libzmq):
    """differences.md: libzmq truncates to 16 bits; we refuse."""
    for call in ("bind", "connect"):
        s = make(zmq.PULL)
        if on_libzmq:
            if call == "connect" and port != "-1":
                s.connect(f"tcp://127.0.0.1:{port}")
        else:
            with refused(zmq, errno.EINVAL):
                getattr(s, call)(f"tcp://127.0.0.1:{port}")


def test_a_port_in_use_is_refused(zmq, make):
    """EADDRINUSE, whoever has it."""
    owner = make(zmq.PULL)
    address = bind(owner)
    with refused(zmq, errno.EADDRINUSE) as info:
        make(zmq.PULL).bind(address)
    assert f"(addr={address!r})" in str(info.value)
    with RawListener() as server, refused(zmq, errno.EADDRINUSE):
        make(zmq.PULL).bind(server.endpoint)


def test_a_failed_bind_leaves_the_socket_usable(zmq, make):
    pull, push, owner = make(zmq.PULL), make(zmq.PUSH), make(zmq.PULL)
    taken = bind(owner)
    for _ in range(20):
        with refused(zmq, errno.EADDRINUSE):
            pull.bind(taken)
    push.connect(bind(pull))
    push.send(b"x")
    assert pull.recv() == b"x"


def test_inproc_names_in_use_are_refused(zmq, make):
    owner = make(zmq.PULL)
    name = bind(owner, fresh_inproc())
    with refused(zmq, errno.EADDRINUSE):
        make(zmq.PULL).bind(name)


def test_abstract_names_in_use_are_refused(zmq, make):
    owner = make(zmq.PULL)
    name = bind(owner, f"ipc://@zm-{os.getpid()}-taken")
    with refused(zmq, errno.EADDRINUSE):
        make(zmq.PULL).bind(name)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:*",
        "tcp://*:5555",
        "tcp://local host:5555",
        "tcp://127.0.0.1:http",
    ],
)
def test_endpoints_one_cannot_connect_to(zmq, make, address):
    """EINVAL for wildcards, spaces and names of services."""
    with refused(zmq, errno.EINVAL) as info:
        make(zmq.PUSH).connect(address)
    assert f"(addr={address!r})" in str(info.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "tcp://no-such-host.invalid:5555"])
def test_endpoints_that_may_work_one_day_are_accepted(zmq, make, address):
    """Names are resolved later, again and again."""
    push = make(zmq.PUSH)
    push.connect(address)
    push.send(b"waits", zmq.DONTWAIT)
    push.disconnect(address)


def test_ipc_paths_that_are_too_long_are_refused_with_the_limit(zmq, make):
    """ENAMETOOLONG with a text of its own."""
    path = "/tmp/" + "x" * 200
    for call in ("bind", "connect"):
        with refused(zmq, errno.ENAMETOOLONG) as info:
            getattr(make(zmq.PULL), call)(f"ipc://{path}")
        if call == "bind":
            assert path in str(info.value) and "107" in str(info.value)


def test_ipc_paths_in_directories_that_are_not_there_are_refused(zmq, make, ipc_address):
    """ENOENT with a text of its own."""
    path = ipc_address.removeprefix("ipc://") + "/not/there"
    with refused(zmq, errno.ENOENT) as info:
        make(zmq.PULL).bind(f"ipc://{path}")
    assert f'No such file or directory for ipc path "{path}"' in str(info.value)


def test_ipc_paths_without_permission_are_refused(zmq):
    """EACCES."""
    code = """
import os
if os.geteuid() == 0:
    os.setuid(65534)
with zmq.Context() as context, context.socket(zmq.PULL) as s:
    try:
        s.bind("ipc:///zm-not-allowed")
    except zmq.ZMQError as error:
        print(error.errno)
"""
    done = run_python(module_source(zmq) + code)
    assert done.stdout == f"{errno.EACCES}\n", done


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "ipc:///tmp/zm-none", "inproc://none"])
def test_unknown_endpoints_cannot_be_undone(zmq, make, address):
    """ENOENT."""
    s = make(zmq.PULL)
    for call in (s.unbind, s.disconnect):
        with refused(zmq, errno.ENOENT):
            call(address)


def test_an_address_is_a_string(zmq, make):
    """str or bytes."""
    s = make(zmq.PULL)
    with s.bind(b"tcp://127.0.0.1:*"):
        assert port_of(s) > 0
    for call in (s.bind, s.connect):
        with pytest.raises(TypeError, match="addr"):
            call(5)


# --- send and recv -------------------------------------------------------------------------------


def test_sending_to_nobody_would_block(zmq, make):
    """EAGAIN, as Again, at once and after the timeout."""
    s = make(zmq.PUSH, sndtimeo=20)
    for flags in (zmq.DONTWAIT, 0):
        with pytest.raises(zmq.Again) as info:
            s.send(b"x", flags)
        assert info.value.errno == errno.EAGAIN


def test_receiving_nothing_would_block(zmq, make):
    s = make(zmq.PULL, rcvtimeo=20)
    for flags in (zmq.DONTWAIT, 0):
        with pytest.raises(zmq.Again):
            s.recv(flags)
        with pytest.raises(zmq.Again):
            s.recv(flags, copy=False)
        with pytest.raises(zmq.Again):
            s.recv_into(bytearray(1), flags=flags)


def test_a_requester_waits_for_its_reply(zmq, make):
    """EFSM."""
    req, rep = make(zmq.REQ), make(zmq.REP)
    req.connect(bind(rep, fresh_inproc()))
    with refused(zmq, EFSM):
        req.recv()
    req.send(b"one")
    with refused(zmq, EFSM):
        req.send(b"two")


def test_a_replier_waits_for_a_request(zmq, make):
    """EFSM."""
    req, rep = make(zmq.REQ), make(zmq.REP)
    req.connect(bind(rep, fresh_inproc()))
    with refused(zmq, EFSM):
        rep.send(b"unasked")
    req.send(b"one")
    assert rep.recv() == b"one"
    with refused(zmq, EFSM):
        rep.recv()


@pytest.mark.parametrize("kind", ["PULL", "SUB"])
def test_receivers_do_not_send(zmq, make, kind):
    """ENOTSUP."""
    with refused(zmq, errno.ENOTSUP):
        make(getattr(zmq, kind)).send(b"x")


@pytest.mark.parametrize("kind", ["PUSH", "PUB"])
def test_senders_do_not_receive(zmq, make, kind):
    """ENOTSUP."""
    with refused(zmq, errno.ENOTSUP):
        make(getattr(zmq, kind)).recv()


def test_a_router_can_be_told_to_mind_unknown_ids(zmq, make):
    """EHOSTUNREACH with ROUTER_MANDATORY, silence without."""
    router = make(zmq.ROUTER)
    router.send_multipart([b"nobody", b"x"])
    router.router_mandatory = 1
    with refused(zmq, errno.EHOSTUNREACH):
        router.send_multipart([b"nobody", b"x"])


def test_a_router_that_minds_says_that_a_peer_is_full(zmq, make):
    """EAGAIN."""
    router = make(zmq.ROUTER, router_mandatory=1, sndhwm=1)
    with dead_endpoint() as nowhere:
        router.set(zmq.CONNECT_ROUTING_ID, b"peer")
        router.connect(nowhere)
        router.send_multipart([b"peer", b"1"], zmq.DONTWAIT)
        with refused(zmq, errno.EAGAIN):
            router.send_multipart([b"peer", b"2"], zmq.DONTWAIT)


def test_a_stream_minds_unknown_ids(zmq, make):
    with refused(zmq, errno.EHOSTUNREACH):
        make(zmq.STREAM).send_multipart([b"\0none", b"x"])


def test_a_duplicate_connect_routing_id_is_refused(zmq, make, on_libzmq):
    """differences.md: libzmq aborts the process."""
    if on_libzmq:
        pytest.skip("libzmq aborts the process")
    router = make(zmq.ROUTER)
    with dead_endpoint() as one, dead_endpoint() as two:
        router.set(zmq.CONNECT_ROUTING_ID, b"same")
        router.connect(one)
        router.set(zmq.CONNECT_ROUTING_ID, b"same")
        with refused(zmq, errno.EINVAL):
            router.connect(two)


# --- options and monitors ------------------------------------------------------------------------


def test_unknown_options_are_invalid(zmq, make):
    """EINVAL."""
    s = make(zmq.PUSH)
    for number in (9999, 2, 3):
        with refused(zmq, errno.EINVAL):
            s.set(number, 1)
        with refused(zmq, errno.EINVAL):
            s.get(number)


def test_read_only_options_cannot_be_set(zmq, make):
    s = make(zmq.PUSH)
    for option in (zmq.TYPE, zmq.EVENTS, zmq.FD, zmq.RCVMORE, zmq.MECHANISM):
        with refused(zmq, errno.EINVAL):
            s.set(option, 1)


def test_a_monitor_is_inproc(zmq, make):
    """EPROTONOSUPPORT for tcp, EADDRINUSE for a name that is taken."""
    s = make(zmq.PUSH)
    with refused(zmq, errno.EPROTONOSUPPORT):
        s.monitor("tcp://127.0.0.1:*", zmq.EVENT_ALL)
    owner = make(zmq.PAIR)
    name = bind(owner, fresh_inproc())
    with refused(zmq, errno.EADDRINUSE):
        s.monitor(name, zmq.EVENT_ALL)


def test_a_poll_over_a_bad_descriptor_fails(zmq):
    """With an error or an answer that says so, never a hang."""
    with socket.socket() as s:
        fd = s.fileno()
    try:
        ready = zmq.zmq_poll([(fd, zmq.POLLIN)], 100)
    except zmq.ZMQError as error:
        assert error.errno == errno.EBADF
    else:
        assert ready == [] or ready[0][1] & zmq.POLLERR
