"""Endpoints (driver/address.c, driver/sockopt.c), against pyzmq where pyzmq can tell.

Source of the rules: semantics.md#transports-and-endpoints, #errors, S-106, S-108.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import re
import select
import socket
import stat

import pytest
from support import eventually
from support.c import build_program, build_shared, run_program

SOURCES = ("driver/address.c", "driver/sockopt.c", "base/alloc.c", "base/check.c", "base/fds.c")
ENOCOMPATPROTO = 156384712 + 52
TCP, IPC = 1, 2
UNTUNED = (100, -1, -1, 0, 0, -1, -1, -1, -1, 0, 0)

HAS_IPV6 = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6")
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")

#: What ours refuses and libzmq takes, by reason.
DIFFERENCES = {
    "port": "a number over 65535 or under 0 is no port; libzmq truncates it to 16 bits",
    "length": "a host name has at most 255 characters; libzmq retries for ever",
    "tipc": "not built; libzmq's answer depends on the kernel",
}


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    lib = build_shared(tmp_path_factory.mktemp("c"), "endpoint", "address_shim.c", *SOURCES)
    lib.zm_fd_count.restype = ctypes.c_int64
    return lib


class Endpoints:
    """The module's functions; every descriptor it makes is closed at the end."""

    def __init__(self, lib):
        self.lib = lib
        self.made = []
        self.tune()

    def tune(self, numbers=UNTUNED, device=b""):
        self.lib.shim_tune((ctypes.c_int * 11)(*numbers), device)

    def bind(self, endpoint, ipv6=0, use_fd=-1):
        """(descriptor or -errno, endpoint, directory)"""
        if isinstance(endpoint, str):
            endpoint = os.fsencode(endpoint)
        out, directory = ctypes.create_string_buffer(512), ctypes.create_string_buffer(512)
        fd = self.lib.shim_bind(endpoint, ipv6, use_fd, out, directory)
        if fd >= 0:
            self.made.append(fd)
        return fd, os.fsdecode(out.value), os.fsdecode(directory.value)

    def connect(self, endpoint, ipv6=0):
        fd = self.lib.shim_connect(os.fsencode(endpoint), ipv6)
        if fd >= 0:
            self.made.append(fd)
        return fd

    def parse_to_connect(self, endpoint, ipv6=0):
        return self.lib.shim_parse(os.fsencode(endpoint), 0, ipv6)

    def text(self, function, fd, *arguments):
        out = ctypes.create_string_buffer(512)
        getattr(self.lib, function)(fd, *arguments, out)
        return os.fsdecode(out.value)

    def peer_address(self, fd, transport):
        out = ctypes.create_string_buffer(512)
        self.lib.zm_peer_address(fd, transport, out, ctypes.c_size_t(512))
        return os.fsdecode(out.value)

    def close(self):
        for fd in self.made:
            self.lib.zm_fd_close(fd)
        self.made = []


@pytest.fixture
def ours(lib):
    endpoints = Endpoints(lib)
    yield endpoints
    endpoints.close()
    assert lib.zm_fd_count() == 0


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A directory of its own as the current one, and no $TMPDIR and the like."""
    monkeypatch.chdir(tmp_path)
    for name in ("TMPDIR", "TEMPDIR", "TMP"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def option(fd, level, name):
    with socket.socket(fileno=os.dup(fd)) as s:
        return s.getsockopt(level, name)


def accept(fd):
    """The next connection of a listening descriptor."""
    assert select.select([fd], [], [], 10)[0]
    with socket.socket(fileno=os.dup(fd)) as s:
        return s.accept()[0]


# --- against pyzmq -------------------------------------------------------------------------------

BIND = """tcp://*:* tcp://*:0 tcp://127.0.0.1:* tcp://127.0.0.1:0 tcp://lo:* tcp://nosuch0:*
    tcp://localhost:* tcp://[::1]:* tcp://::1:* tcp://[::]:* tcp://[*]:* tcp://* tcp://127.0.0.1
    tcp://127.0.0.1: tcp://:5555 tcp://:* tcp:// tcp tcp: tcp:/ //x ://x foo://x TCP://127.0.0.1:*
    tcp://127.0.0.1:http tcp://127.0.0.1:65536 tcp://127.0.0.1:99999 tcp://127.0.0.1:-1
    tcp://127.0.0.1:00000 tcp://1.2.3.4:* tcp://[::ffff:127.0.0.1]:* tcp://0.0.0.0:* tcp://127.1:*
    tcp://[127.0.0.1]:* tcp://[::1:* tcp://::1]:* tcp://127.0.0.1:*:* tcp://[::1%lo]:*
    tcp://[::1%1]:* tcp://[::1%nope]:* tcp://[lo]:* tcp://[]:* tcp://[localhost]:*
    tcp://127.0.0.1;127.0.0.1:* tcp://127.0.0.1:0;127.0.0.1:* tcp://256.1.1.1:* tcp://lo:0x10
    tcp://%lo:* udp://127.0.0.1:5 pgm://eth0:1 epgm://a:1 norm://a:1 vmci://*:* tipc://{1,2,3}
    vsock://*:* ws://*:* wss://*:* ipc:// ipc://@ ipc://@zm-endpoint-test ipc://@zm* ipc://file
    ipc://nosuch/x ipc:///proc/x""".split()
BIND += ["", "tcp:// 127.0.0.1:*", "tcp://127.0.0.1 :*", "tcp://127.0.0.1:\xff"]
BIND += ["ipc://" + "r" * n for n in (106, 107, 108)]
BIND += ["ipc://@" + "r" * n for n in (105, 106, 107, 108)]


def own_name(endpoint):
    """Abstract names are the machine's: puts the process id into one, at the same length."""
    if endpoint == "ipc://@zm*":
        return f"ipc://@zm{os.getpid()}*"
    if endpoint.startswith("ipc://@") and len(endpoint) > 15:
        return f"ipc://@{os.getpid():08}" + endpoint[15:]
    return endpoint


def bind_difference(endpoint):
    if re.search(r":(-\d+|\d{6,}|9\d{4}|65536)$", endpoint):
        return "port"
    if endpoint.startswith("tipc"):
        return "tipc"
    return None


def portless(endpoint):
    return re.sub(r":\d+$", ":PORT", endpoint)


@pytest.mark.parametrize("ipv6", [0, pytest.param(1, marks=needs_ipv6)])
@pytest.mark.parametrize("endpoint", BIND)
def test_bind_answers_as_pyzmq_does(ours, pyzmq, peer_ctx, workdir, endpoint, ipv6):
    """The same error, or the same endpoint but for an ephemeral port."""
    endpoint = own_name(endpoint)
    with peer_ctx.socket(pyzmq.PAIR) as s:
        s.linger = 0
        s.ipv6 = ipv6
        try:
            s.bind(endpoint)
            expected = portless(s.LAST_ENDPOINT.decode())
        except pyzmq.ZMQError as e:
            expected = -e.errno
        if expected and isinstance(expected, str) and "@" in expected:
            s.unbind(endpoint)  # an abstract name has one owner only
            answer = eventually(
                lambda: (a := ours.bind(endpoint, ipv6))[0] != -errno.EADDRINUSE and a
            )
        else:
            answer = ours.bind(endpoint, ipv6)
    fd, reported, directory = answer
    assert directory == ""
    difference = bind_difference(endpoint)
    if difference:
        assert fd == (-errno.EINVAL if difference == "port" else -errno.EPROTONOSUPPORT)
        return
    assert (portless(reported) if fd >= 0 else fd) == expected


CONNECT = """tcp://127.0.0.1:5999 tcp://127.0.0.1:0 tcp://127.0.0.1:* tcp://*:5999
    tcp://localhost:5999 tcp://nosuchhost.invalid:1 tcp://lo:5999 tcp://[::1]:5999 tcp://::1:5999
    tcp://[::]:5999 tcp://127.0.0.1 tcp://127.0.0.1: tcp://:5999 tcp:// tcp://127.0.0.1:http
    tcp://127.0.0.1:80a tcp://127.0.0.1:-1 tcp://127.0.0.1:65535 tcp://127.0.0.1:65536
    tcp://127.0.0.1:99999 tcp://0.0.0.0:5999 tcp://127.1:5999 tcp://[127.0.0.1]:5999
    tcp://[::1:5999 tcp://::1]:5999 tcp://a_b:5 tcp://a-b:5 tcp://a..b:5 tcp://-a:5 tcp://a-:5
    tcp://.a:5 tcp://a.:5 tcp://a/b:5 tcp://a:5/ tcp://a:5/x tcp://a@b:5
    tcp://127.0.0.1;127.0.0.1:5999 tcp://127.0.0.1:0;127.0.0.1:5999 tcp://lo:0;127.0.0.1:5999
    tcp://127.0.0.1:5998;127.0.0.1:5999 tcp://*:0;127.0.0.1:5999 tcp://lo:*;127.0.0.1:5999
    tcp://eth0;127.0.0.1:5999 tcp://bad_src:0;127.0.0.1:5999 tcp://;127.0.0.1:5999
    tcp://127.0.0.1:0;*:5999 tcp://127.0.0.1:0; tcp://127.0.0.1:0;127.0.0.1
    tcp://[::1]:0;[::1]:5999 tcp://[fe80::1%lo]:5999 tcp://[fe80::1%nope]:5999 tcp://[]:5
    tcp://a:5;b:6;c:7 tcp://127.0.0.1:5:6 tcp://[a]:5 tcp://[a:5 tcp://a]:5 tcp://127.0.0.1:05
    tcp://127.0.0.1:+5 tcp://127.0.0.1:0x5 tcp://127.0.0.1:5* tcp://a$b:5 tcp://a%b:5
    tcp://2130706433:5 tcp://256.1.1.1:5 udp://127.0.0.1:5 foo://x pgm://eth0:1 vmci://*:*
    tipc://{1,2} vsock://1:1 ws://a:1 wss://a:1 ipc:// ipc://@ ipc://@zm-test ipc://* ipc://@*
    ipc://file tcp://a:000000000005 tcp://a:4294967301 tcp://a:99999999999999999999
    tcp://127.0.0.1:70000;127.0.0.1:5""".split()
CONNECT += ["tcp://a b:5", "tcp:// a:5", "tcp://a:5 ", "tcp://\u00e9:5", f"tcp://{'a' * 300}:5"]
CONNECT += ["ipc://" + "r" * n for n in (107, 108)] + ["ipc://@" + "r" * n for n in (106, 107)]


def connect_difference(endpoint):
    if any(int(port) > 65535 for port in re.findall(r":(\d+)(?:;|$)", endpoint)):
        return "port"
    if len(endpoint) > 260 and endpoint.startswith("tcp"):
        return "length"
    if endpoint.startswith("tipc"):
        return "tipc"
    return None


@pytest.mark.parametrize("ipv6", [0, 1])
@pytest.mark.parametrize("endpoint", CONNECT)
def test_connect_takes_and_refuses_what_pyzmq_does(ours, pyzmq, peer_ctx, workdir, endpoint, ipv6):
    """Names are not looked up then: a host that nobody knows is taken."""
    with peer_ctx.socket(pyzmq.PAIR) as s:
        s.linger = 0
        s.ipv6 = ipv6
        try:
            s.connect(endpoint)
            expected = 0
        except pyzmq.ZMQError as e:
            expected = -e.errno
    got = min(ours.parse_to_connect(endpoint, ipv6), 0)
    difference = connect_difference(endpoint)
    if difference:
        assert got == (-errno.EPROTONOSUPPORT if difference == "tipc" else -errno.EINVAL)
        assert difference == "tipc" or expected == 0
    else:
        assert got == expected


@pytest.mark.parametrize(
    "places",
    [
        {"TMPDIR": "a"},
        {"TEMPDIR": "a"},
        {"TMP": "a/"},
        {"TMPDIR": "missing", "TMP": "a"},
        {"TMPDIR": "", "TEMPDIR": "a"},
        {"TMPDIR": "file", "TMP": "a"},
        {"TMPDIR": "a", "TMP": "b"},
        {},
    ],
    ids=str,
)
def test_the_ipc_wildcard_makes_a_directory_where_pyzmq_makes_it(
    ours, pyzmq, peer_ctx, workdir, monkeypatch, places
):
    """$TMPDIR, $TEMPDIR, $TMP in this order, else the current directory; mode 0700."""
    (workdir / "a").mkdir()
    (workdir / "b").mkdir()
    (workdir / "file").touch()
    for name, place in places.items():
        monkeypatch.setenv(name, f"{workdir}/{place}" if place else "")
    shape = re.compile(r"tmp\w{6}/socket$")
    with peer_ctx.socket(pyzmq.PAIR) as s:
        s.bind("ipc://*")
        expected = shape.sub("X", s.LAST_ENDPOINT.decode())
    fd, reported, directory = ours.bind("ipc://*")
    assert fd >= 0
    assert shape.sub("X", reported) == expected
    assert reported == f"ipc://{directory}/socket"
    assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
    assert stat.S_ISSOCK(os.stat(f"{directory}/socket").st_mode)


def test_the_files_of_an_ipc_wildcard_can_be_removed_and_no_others(ours, workdir):
    _, endpoint, directory = ours.bind("ipc://*")
    _, other, none = ours.bind("ipc://stays")
    for text, place in ((endpoint, directory), (other, none)):
        ours.lib.zm_listener_remove_files(os.fsencode(text), os.fsencode(place))
    assert [p.name for p in workdir.iterdir()] == ["stays"]


def test_an_ipc_wildcard_that_would_be_too_long_leaves_nothing(ours, workdir, monkeypatch):
    deep = workdir / ("d" * 95)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    assert ours.bind("ipc://*") == (-errno.ENAMETOOLONG, "", "")
    assert list(deep.iterdir()) == []


# --- listening -----------------------------------------------------------------------------------


def test_a_listener_is_non_blocking_and_not_inherited(ours, workdir):
    for endpoint in ("tcp://127.0.0.1:*", "ipc://s", "ipc://*"):
        fd = ours.bind(endpoint)[0]
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert option(fd, socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_a_listener_reuses_an_address_that_only_waits(ours):
    fd = ours.bind("tcp://127.0.0.1:*")[0]
    assert option(fd, socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_a_tcp_address_has_one_listener(ours):
    _, endpoint, _ = ours.bind("tcp://127.0.0.1:*")
    assert ours.bind(endpoint)[0] == -errno.EADDRINUSE


def test_a_second_bind_takes_an_ipc_path_over(ours, workdir):
    first = ours.bind("ipc://s")[0]
    second = ours.bind("ipc://s")[0]
    assert first >= 0 and second >= 0
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("s")
        accept(second).close()
    assert not select.select([first], [], [], 0)[0]


def test_an_abstract_name_has_one_listener_and_no_file(ours, workdir):
    name = f"@zm-{os.getpid()}-{random.randrange(2**32)}"
    fd, endpoint, _ = ours.bind(f"ipc://{name}")
    assert endpoint == f"ipc://{name}"
    assert ours.bind(f"ipc://{name}")[0] == -errno.EADDRINUSE
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0" + name[1:])
        accept(fd).close()
    assert list(workdir.iterdir()) == []


@needs_ipv6
def test_the_wildcard_with_ipv6_serves_both_families(ours):
    fd, endpoint, _ = ours.bind("tcp://*:*", ipv6=1)
    port = int(endpoint.rsplit(":", 1)[1])
    for family, host, told in (
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
    ):
        with socket.socket(family) as s:
            s.connect((host, port))
            with accept(fd) as a:
                assert ours.peer_address(a.fileno(), TCP) == told


def test_a_listening_descriptor_can_be_adopted(ours, workdir):
    """USE_FD: nothing is bound or unlinked, and the endpoint is the descriptor's."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        fd, endpoint, _ = ours.bind("tcp://*:*", use_fd=s.detach())
    assert endpoint == f"tcp://127.0.0.1:{port}"
    # As it was: a forked child may wait in accept() with it.
    assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("theirs")
        s.listen()
        _, endpoint, directory = ours.bind("ipc://*", use_fd=s.detach())
    assert (endpoint, directory) == ("ipc://theirs", "")
    assert [p.name for p in workdir.iterdir()] == ["theirs"]


def test_what_does_not_listen_is_not_adopted(ours, tmp_path):
    read, write = os.pipe()
    with socket.socket() as s:
        assert ours.bind("tcp://*:*", use_fd=s.fileno())[0] == -errno.EINVAL
    assert ours.bind("tcp://*:*", use_fd=read)[0] == -errno.ENOTSOCK
    os.close(read), os.close(write)
    assert ours.bind("tcp://*:*", use_fd=read)[0] == -errno.EBADF


# --- connecting ----------------------------------------------------------------------------------


def test_a_connecter_reaches_its_peer_by_number_name_and_path(ours, workdir):
    for listener in ("tcp://127.0.0.1:*", "ipc://s", "ipc://*", f"ipc://@zm-c-{os.getpid()}"):
        fd, endpoint, _ = ours.bind(listener)
        for target in {endpoint, endpoint.replace("127.0.0.1", "localhost")}:
            client = ours.connect(target)
            assert client >= 0, target
            assert fcntl.fcntl(client, fcntl.F_GETFL) & os.O_NONBLOCK
            assert fcntl.fcntl(client, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
            accept(fd).close()


@needs_ipv6
def test_a_connecter_with_ipv6_reaches_both_families(ours):
    _, endpoint, _ = ours.bind("tcp://*:*", ipv6=1)
    fd = ours.made[0]
    port = endpoint.rsplit(":", 1)[1]
    for host in ("127.0.0.1", "[::1]", "::1", "localhost"):
        assert ours.connect(f"tcp://{host}:{port}", ipv6=1) >= 0
        accept(fd).close()
    assert ours.parse_to_connect(f"tcp://[::1]:{port}") == 0  # not without IPV6


@pytest.mark.parametrize("source", ["127.0.0.2:0", "127.0.0.2:*", "127.0.0.2:{port}", "lo:0"])
def test_a_connection_leaves_from_the_source_that_was_given(ours, source):
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", 0))
        free = probe.getsockname()[1]
    fd, endpoint, _ = ours.bind("tcp://127.0.0.1:*")
    target = endpoint.removeprefix("tcp://")
    ours.connect(f"tcp://{source.format(port=free)};{target}")
    with accept(fd) as a:
        host, port = a.getpeername()
    assert host == ("127.0.0.1" if source.startswith("lo") else "127.0.0.2")
    assert "port" not in source or port == free


@pytest.mark.parametrize(
    "endpoint, expected",
    [
        ("tcp://127.0.0.1:0;127.0.0.1", errno.EINVAL),
        ("tcp://127.0.0.1:0;*:5", errno.EINVAL),
        ("tcp://bad_src:0;127.0.0.1:5", errno.ENODEV),
        ("tcp://eth0;127.0.0.1:5", errno.EINVAL),
        ("tcp://:5", errno.EINVAL),
        ("tcp://[fe80::1%nope]:5", errno.EINVAL),
    ],
)
def test_what_connect_takes_but_never_resolves_fails_when_it_is_resolved(ours, endpoint, expected):
    assert ours.parse_to_connect(endpoint) == 0
    assert ours.connect(endpoint) == -expected


# --- tuning --------------------------------------------------------------------------------------


def test_options_reach_the_descriptors(ours):
    """S-106: buffers, TOS and priority early; keepalive, timeout and NODELAY on connections."""
    ours.tune((7, 20000, 30000, 0x28, 3, 1, 4, 50, 6, 7000, 0))
    fd, endpoint, _ = ours.bind("tcp://127.0.0.1:*")
    client = ours.connect(endpoint)
    with accept(fd) as a:
        for each in (fd, client):
            assert option(each, socket.SOL_SOCKET, socket.SO_SNDBUF) == 40000
            assert option(each, socket.SOL_SOCKET, socket.SO_RCVBUF) == 60000
            assert option(each, socket.IPPROTO_IP, socket.IP_TOS) == 0x28
            assert option(each, socket.SOL_SOCKET, socket.SO_PRIORITY) == 3
        for each in (client, a.fileno()):
            ours.lib.shim_tune_connection(each, TCP)
            assert option(each, socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert option(each, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert option(each, socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
            assert option(each, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 50
            assert option(each, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 6
            assert option(each, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
            assert option(each, socket.IPPROTO_IP, socket.IP_TOS) == 0x28
            assert option(each, socket.SOL_SOCKET, socket.SO_PRIORITY) == 3


@needs_ipv6
def test_tos_reaches_both_families_of_a_dual_socket(ours):
    ours.tune((*UNTUNED[:3], 0x28, *UNTUNED[4:]))
    fd = ours.bind("tcp://*:*", ipv6=1)[0]
    assert option(fd, socket.IPPROTO_IP, socket.IP_TOS) == 0x28
    assert option(fd, socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0x28
    assert not option(fd, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_without_options_only_nodelay_is_touched(ours):
    fd, endpoint, _ = ours.bind("tcp://127.0.0.1:*")
    client = ours.connect(endpoint)
    accept(fd).close()
    ours.lib.shim_tune_connection(client, TCP)
    assert option(client, socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not option(client, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert not option(client, socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    with socket.socket() as plain:
        assert option(client, socket.IPPROTO_IP, socket.IP_TOS) == option(
            plain.fileno(), socket.IPPROTO_IP, socket.IP_TOS
        )


def test_a_device_that_is_not_there_fails_the_bind(ours):
    ours.tune(device=b"nosuch0")
    assert ours.bind("tcp://127.0.0.1:*")[0] in (-errno.ENODEV, -errno.EPERM)
    assert ours.connect("tcp://127.0.0.1:9") in (-errno.ENODEV, -errno.EPERM)
    assert ours.lib.zm_fd_count() == 0


# --- asking --------------------------------------------------------------------------------------


def test_a_local_end_can_be_named(ours, workdir):
    for listener in ("tcp://127.0.0.1:*", "ipc://s"):
        fd, endpoint, _ = ours.bind(listener)
        client = ours.connect(endpoint)
        with accept(fd) as a:
            assert ours.text("zm_local_endpoint", a.fileno(), b"x") == endpoint
            mine = ours.text("zm_local_endpoint", client, b"fallback")
            assert (mine == "fallback") == listener.startswith("ipc")
    assert ours.text("zm_local_endpoint", -1, b"none") == "none"


def test_a_peer_is_named_by_its_address_or_by_its_owner(ours, workdir):
    """Peer-Address without the port; localhost:UID:GID:PID for ipc."""
    for listener, transport, expected in (
        ("tcp://127.0.0.1:*", TCP, "127.0.0.1"),
        ("ipc://s", IPC, f"localhost:{os.getuid()}:{os.getgid()}:{os.getpid()}"),
    ):
        fd, endpoint, _ = ours.bind(listener)
        ours.connect(endpoint)
        with accept(fd) as a:
            assert ours.peer_address(a.fileno(), transport) == expected
    assert ours.peer_address(-1, TCP) == ours.peer_address(-1, IPC) == ""


@pytest.mark.parametrize(
    "text, client, matches",
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("127.0.0.2/8", "127.0.0.1", True),
        ("127.0.0.2/31", "127.0.0.1", False),
        ("127.0.0.2/30", "127.0.0.1", True),
        ("0.0.0.0/0", "127.0.0.1", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.9/124", "127.0.0.1", True),
        ("::1", "127.0.0.1", False),
        ("::/0", "127.0.0.1", True),
        pytest.param("::1", "::1", True, marks=needs_ipv6),
        pytest.param("[::2]/126", "::1", True, marks=needs_ipv6),
        pytest.param("::2/127", "::1", False, marks=needs_ipv6),
        pytest.param("127.0.0.1/0", "::1", False, marks=needs_ipv6),
    ],
)
def test_an_accept_filter_matches_by_its_leading_bits(ours, text, client, matches):
    """IPv4 peers are the same on an IPv4 and on a dual listener."""
    for ipv6 in (0, 1) if HAS_IPV6 else (0,):
        if ":" in client and not ipv6:
            continue
        fd, endpoint, _ = ours.bind("tcp://*:*", ipv6=ipv6)
        port = int(endpoint.rsplit(":", 1)[1])
        with socket.create_connection((client, port), timeout=10), accept(fd) as a:
            assert ours.lib.shim_filter(text.encode(), a.fileno()) == matches, ipv6


def test_a_filter_matches_no_peer_that_is_gone_or_local(ours):
    left, right = socket.socketpair()
    with left, right:
        assert ours.lib.shim_filter(b"0.0.0.0/0", left.fileno()) == 0
    assert ours.lib.shim_filter(b"0.0.0.0/0", -1) == 0


@pytest.mark.parametrize("seed", [1, "random"])
def test_no_endpoint_string_does_harm(tmp_path, seed):
    """Random endpoints under the sanitizers."""
    program = build_program(tmp_path, "address_fuzz", "address_fuzz.c", *SOURCES)
    run_program(program, random.randrange(1, 2**32) if seed == "random" else seed, 20000)


def test_where_the_kernel_has_no_ipv6_the_option_means_nothing(tmp_path):
    """socket(AF_INET6) is made to fail: wildcards and IPv4 peers are served all the same."""
    run_program(build_program(tmp_path, "no_ipv6", "address_no_ipv6.c", *SOURCES))
