"""zmq.ssh: tunnels, with a stand-in for OpenSSH that is first on the PATH.

The stand-in notes its arguments, asks for a password if it is told to, and forwards the port in
the background: enough to see the whole way of a message. Real servers are not reached.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import threading

import pytest
from support import TIMEOUT, eventually, run_python

#: The stand-in; FAKE_SSH is the directory of its notes and of what it is told.
FAKE = f"""#!{sys.executable}
import json, os, socket, sys, threading, time

place = os.environ["FAKE_SSH"]
args = sys.argv[1:]
with open(place + "/calls", "a") as calls:
    calls.write(json.dumps(args) + "\\n")
with open(place + "/told") as told:
    told = json.load(told)
if "-O" in args:
    sys.exit(255)  # no connection to share
batch = "BatchMode=yes" in args
if told.get("unknown host"):
    sys.exit("Host key verification failed.")
if told.get("password"):
    if batch:
        sys.exit("user@host: Permission denied (publickey,password).")
    import getpass
    for attempt in range(3):
        if getpass.getpass("user@host's password: ") == told["password"]:
            break
        print("Permission denied, please try again.")
    else:
        sys.exit("user@host: Permission denied (publickey,password).")
if "-L" not in args:
    sys.exit(0)
_, port, host, remote = args[args.index("-L") + 1].split(":")
server = socket.create_server(("127.0.0.1", int(port)))
child = os.fork()
if child:
    with open(place + "/child", "w") as note:
        note.write(str(child))
    os._exit(0)
os.setsid()

def copy(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    os._exit(0)

server.settimeout(20)
near = server.accept()[0]
far = socket.create_connection((host, int(remote)))
near.settimeout(20), far.settimeout(20)
threading.Thread(target=copy, args=(near, far), daemon=True).start()
copy(far, near)
"""


@pytest.fixture
def tunnel(zmq, on_libzmq):
    module = importlib.import_module(f"{zmq.__name__}.ssh.tunnel")
    if on_libzmq and module.pexpect is None:
        pytest.skip("pyzmq's needs pexpect for everything")
    return module


class FakeSsh:
    def __init__(self, place):
        self.place = place

    def tell(self, **told) -> None:
        (self.place / "told").write_text(json.dumps(told))

    def calls(self) -> list[list[str]]:
        path = self.place / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    program = tmp_path / "ssh"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SSH", str(tmp_path))
    fake = FakeSsh(tmp_path)
    fake.tell()
    yield fake
    child = tmp_path / "child"
    if child.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child.read_text()), signal.SIGKILL)


def test_random_ports_are_free_and_different(tunnel):
    ports = tunnel.select_random_ports(16)
    assert len(set(ports)) == 16
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_socket_is_connected_through_a_tunnel(zmq, tunnel, fake_ssh, make, on_libzmq):
    if on_libzmq:
        pytest.skip("the stand-in does not fit what pyzmq waits for")
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    address = f"tcp://127.0.0.1:{port}"
    pid = tunnel.tunnel_connection(pull, address, "user@host:2222", keyfile="/a/key", timeout=7)
    assert isinstance(pid, int)
    local = pull.last_endpoint.decode()
    assert local.startswith("tcp://127.0.0.1:")
    assert local != address
    push.send(b"through")
    assert pull.recv() == b"through"
    call = fake_ssh.calls()[-1]
    assert f"127.0.0.1:{local.rsplit(':', 1)[1]}:127.0.0.1:{port}" in call
    for expected in ("-f", "-p", "2222", "/a/key", "user@host", "sleep", "7"):
        assert expected in call


def test_a_password_is_given_when_it_is_asked_for(zmq, tunnel, fake_ssh, make, on_libzmq):
    if tunnel.pexpect is None:
        pytest.skip("needs pexpect")
    if on_libzmq:
        pytest.skip("the stand-in does not fit what pyzmq waits for")
    fake_ssh.tell(password="right")
    push, pull = make(zmq.PUSH), make(zmq.PULL)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    tunnel.tunnel_connection(pull, f"tcp://127.0.0.1:{port}", "user@host", password="right")
    push.send(b"through")
    assert pull.recv() == b"through"


def test_a_password_that_is_refused_is_asked_for(tunnel, fake_ssh, monkeypatch, on_libzmq):
    if tunnel.pexpect is None:
        pytest.skip("needs pexpect")
    if on_libzmq:
        pytest.skip("the stand-in does not fit what pyzmq waits for")
    fake_ssh.tell(password="right")
    asked = []
    monkeypatch.setattr(tunnel, "getpass", lambda prompt: asked.append(prompt) or "wrong")
    with pytest.raises(tunnel.SSHException):
        tunnel.open_tunnel("tcp://127.0.0.1:9", "user@host", password="wrong")
    assert asked
    assert all("user@host" in prompt for prompt in asked)


def test_without_pexpect_a_password_is_an_import_error(tunnel, fake_ssh, monkeypatch):
    monkeypatch.setattr(tunnel, "pexpect", None)
    fake_ssh.tell(password="right")
    with pytest.raises(ImportError, match="pexpect"):
        tunnel.open_tunnel("tcp://127.0.0.1:9", "user@host", password="right")


def test_an_unknown_host_is_an_error(tunnel, fake_ssh, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq waits for OpenSSH's question")
    fake_ssh.tell(**{"unknown host": True})
    with pytest.raises(tunnel.SSHException, match="authenticity"):
        tunnel.open_tunnel("tcp://127.0.0.1:9", "user@host")
    with pytest.raises(tunnel.SSHException, match="authenticity"):
        tunnel.try_passwordless_ssh("user@host", None)


@pytest.mark.parametrize("password", [None, "needed"])
def test_passwordless_ssh_is_tried(tunnel, fake_ssh, password, on_libzmq):
    if on_libzmq and password:
        pytest.skip("pyzmq waits for OpenSSH's question")
    fake_ssh.tell(**({"password": password} if password else {}))
    assert tunnel.try_passwordless_ssh("user@host", None) is (password is None)


def test_a_server_is_never_taken_for_an_option(tunnel, fake_ssh, on_libzmq):
    if on_libzmq:
        pytest.skip("pyzmq splits a command line")
    assert tunnel.try_passwordless_ssh("-oProxyCommand=evil", None)
    call = fake_ssh.calls()[-1]
    assert call.index("--") < call.index("-oProxyCommand=evil")


@pytest.mark.parametrize("address", ["ipc://x", "tcp://host", "nonsense"])
def test_only_tcp_addresses_are_tunnelled(tunnel, address):
    with pytest.raises(ValueError):
        tunnel.open_tunnel(address, "user@host")


@pytest.mark.parametrize(
    ("server", "expected"),
    [("u@h", ("u", "h", 22)), ("u@h:33", ("u", "h", 33)), ("h:33", (None, "h", 33))],
)
def test_a_server_is_taken_apart(tunnel, server, expected):
    user, host, port = tunnel._split_server(server)
    assert (host, port) == expected[1:]
    assert expected[0] in (None, user)


def test_without_paramiko_its_tunnel_is_an_import_error(tunnel, monkeypatch):
    monkeypatch.setattr(tunnel, "paramiko", None)
    with pytest.raises(ImportError, match="aramiko"):
        tunnel.paramiko_tunnel(1, 2, "user@host")
    with pytest.raises(ImportError, match="aramiko"):
        tunnel.try_passwordless_ssh("user@host", None, paramiko=True)


def test_the_package_is_imported_without_paramiko_and_pexpect(zmq):
    where = os.path.dirname(os.path.dirname(os.path.abspath(zmq.__file__)))
    code = (
        "import sys\n"
        "sys.modules['paramiko'] = sys.modules['pexpect'] = None\n"
        f"sys.path.insert(0, {where!r})\n"
        f"import {zmq.__name__}.ssh as ssh\n"
        "assert ssh.ssh_tunnel is ssh.openssh_tunnel\n"
        "assert issubclass(ssh.tunnel.SSHException, Exception)\n"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


class Transport:
    """A stand-in for paramiko's: a channel is a connection to where it is asked for."""

    def __init__(self):
        self.asked = []

    def open_channel(self, kind, remote, origin):
        self.asked.append((kind, remote, origin))
        if remote[1] == 0:
            raise OSError("refused on purpose")
        return socket.create_connection(remote, timeout=TIMEOUT)


@pytest.fixture
def forwarded(zmq, tunnel, monkeypatch):
    """forwarded(remote port) -> the local port that `forward_tunnel` forwards, in a thread."""
    forward = importlib.import_module(f"{zmq.__name__}.ssh.forward")
    servers, threads = [], []
    init = forward.ForwardServer.__init__

    def remember(self, *args, **kwargs):
        init(self, *args, **kwargs)
        servers.append(self)

    monkeypatch.setattr(forward.ForwardServer, "__init__", remember)

    def start(remote_port: int, transport) -> int:
        (port,) = tunnel.select_random_ports(1)
        args = (port, "127.0.0.1", remote_port, transport)
        thread = threading.Thread(target=forward.forward_tunnel, args=args)
        thread.start()
        threads.append(thread)
        eventually(lambda: servers)
        return port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_a_forwarded_port_passes_bytes_both_ways(zmq, forwarded, make):
    rep, req = make(zmq.REP), make(zmq.REQ)
    remote = rep.bind_to_random_port("tcp://127.0.0.1")
    transport = Transport()
    req.connect(f"tcp://127.0.0.1:{forwarded(remote, transport)}")
    body = b"x" * 200_000
    req.send(body)
    assert rep.recv() == body
    rep.send(b"back")
    assert req.recv() == b"back"
    assert transport.asked[0][:2] == ("direct-tcpip", ("127.0.0.1", remote))
    req.close()
    rep.close()


def test_a_refused_channel_closes_the_connection(forwarded, caplog):
    caplog.set_level("DEBUG")
    port = forwarded(0, Transport())
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as s:
        assert s.recv(1) == b""
    assert "failed" in caplog.text
