"""Tunnels to a tcp endpoint that only a machine reached by SSH can see.

OpenSSH does the work, or paramiko where that is asked for. Neither is needed to import this;
pexpect is needed where OpenSSH wants a password.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from getpass import getpass, getuser
from multiprocessing import Process
from typing import Any

from zmq_monocoque.ssh.forward import forward_tunnel

try:
    import paramiko  # type: ignore[import-untyped,unused-ignore]
    from paramiko import SSHException
except ImportError:
    paramiko = None  # type: ignore[assignment,unused-ignore]

    class SSHException(Exception):  # type: ignore[no-redef]
        """An SSH connection could not be made."""


try:
    import pexpect  # type: ignore[import-untyped,unused-ignore]
except ImportError:
    pexpect = None

__all__ = [
    "tunnel_connection",
    "ssh_tunnel",
    "openssh_tunnel",
    "paramiko_tunnel",
    "try_passwordless_ssh",
]

#: Names paramiko's policy for unknown hosts: AutoAdd, Warning or (default) Reject.
_POLICY_VARIABLE = "PYZMQ_PARAMIKO_HOST_KEY_POLICY"

_SSH_PORT = 22

#: Seconds that OpenSSH gets to say something.
_ANSWER_SECONDS = 60

#: Between two looks whether it has gone to the background, in seconds.
_LOOK_SECONDS = 0.2

#: How OpenSSH asks for a password or the passphrase of a key. It also names the method "password"
#: when nothing has helped: without a colon.
_password_pat = re.compile(r"pass(word|phrase)[^\r\n]*:\s*", re.IGNORECASE)

_UNKNOWN_HOST = "Host key verification failed"


class MaxRetryExceeded(Exception):
    """Something was tried as often as is allowed."""


def select_random_ports(n: int) -> list[int]:
    """``n`` different tcp ports that are free now."""
    ports = []
    with ExitStack() as held:
        for _ in range(n):
            holder = held.enter_context(socket.socket())
            holder.bind(("", 0))
            ports.append(holder.getsockname()[1])
    return ports


def try_passwordless_ssh(server: str, keyfile: str | None, paramiko: bool | None = None) -> bool:
    """Does ``server`` ("user@host:port") let us in without a password?

    ``keyfile``: the one to try. Raises SSHException when the host is not a known one; ImportError
    when ``paramiko`` is asked for (None: on Windows only) and is not there.
    """
    if paramiko is None:
        paramiko = sys.platform == "win32"
    if paramiko:
        return _try_passwordless_paramiko(server, keyfile)
    return _try_passwordless_openssh(server, keyfile)


def tunnel_connection(
    socket: Any,
    addr: str,
    server: str,
    keyfile: str | None = None,
    password: str | None = None,
    paramiko: bool | None = None,
    timeout: int = 60,
) -> Process | int:
    """Connects ``socket`` to ``addr`` through ``server``; returns what `open_tunnel` opened.

    ``keyfile``, ``password``, ``paramiko`` and ``timeout``, in seconds, are those of `open_tunnel`.
    """
    address, tunnel = open_tunnel(
        addr, server, keyfile=keyfile, password=password, paramiko=paramiko, timeout=timeout
    )
    socket.connect(address)
    return tunnel


def open_tunnel(
    addr: str,
    server: str,
    keyfile: str | None = None,
    password: str | None = None,
    paramiko: bool | None = None,
    timeout: int = 60,
) -> tuple[str, Process | int]:
    """Opens a tunnel to ``addr`` ("tcp://host:port", as ``server`` sees it).

    The local endpoint to connect to, and the tunnel: a Process (paramiko) or a pid (OpenSSH).
    Without ``password`` it is asked for on the terminal when needed. ``timeout`` in seconds: an
    OpenSSH tunnel ends when nobody has used it for so long. Raises ValueError for another kind of
    address; SSHException; ImportError.
    """
    transport, _, place = addr.partition("://")
    host, colon, port = place.rpartition(":")
    if transport != "tcp" or not colon:
        raise ValueError(f"only tcp://host:port can be tunnelled, not {addr!r}")
    if paramiko is None:
        paramiko = sys.platform == "win32"
    make = paramiko_tunnel if paramiko else openssh_tunnel
    (local_port,) = select_random_ports(1)
    tunnel = make(
        local_port,
        int(port),
        server,
        remoteip=host,
        keyfile=keyfile,
        password=password,
        timeout=timeout,
    )
    return f"tcp://127.0.0.1:{local_port}", tunnel


def _server_parts(server: str) -> tuple[str, str, int | None]:
    """User ("" if not said), host and port (None if not said) of "user@host:port"."""
    place, colon, port = server.rpartition(":")
    user, _, host = (place if colon else server).rpartition("@")
    return user, host, int(port) if colon else None


# --- OpenSSH --------------------------------------------------------------------------------------


def _ssh_command(server: str, keyfile: str | None, options: list[str], run: list[str]) -> list[str]:
    user, host, port = _server_parts(server)
    command = ["ssh", *options]
    if keyfile:
        command += ["-i", keyfile]
    if port is not None:
        command += ["-p", str(port)]
    # Whatever the server is called, it is no option.
    return [*command, "--", f"{user}@{host}" if user else host, *run]


def _run_ssh(command: list[str]) -> tuple[int, int, str]:
    """Runs ssh without a terminal: its pid, its status, and what it complained of."""
    # A file: an ssh that has gone to the background would hold a pipe open.
    with tempfile.TemporaryFile() as complaints:
        nothing = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=complaints) as ssh:
            try:
                status = ssh.wait(_ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                ssh.kill()
                raise SSHException(f"ssh did not answer within {_ANSWER_SECONDS} s") from None
        complaints.seek(0)
        said = complaints.read().decode(errors="replace").strip()
    if _UNKNOWN_HOST in said:
        raise SSHException(f"The authenticity of the host can't be established: {said}")
    return ssh.pid, status, said


def _try_passwordless_openssh(server: str, keyfile: str | None) -> bool:
    command = _ssh_command(server, keyfile, ["-o", "BatchMode=yes"], ["true"])
    _, status, _ = _run_ssh(command)
    return status == 0


def openssh_tunnel(
    lport: int,
    rport: int,
    server: str,
    remoteip: str = "127.0.0.1",
    keyfile: str | None = None,
    password: str | None = None,
    timeout: int = 60,
) -> int:
    """Forwards 127.0.0.1:``lport`` to ``remoteip``:``rport`` through ``server``, by OpenSSH.

    The pid of the ssh that set it up; it has gone to the background by then. ``keyfile`` and
    ``password`` are for ``server``; without a password it is asked for where one is needed. The
    tunnel ends after ``timeout`` seconds without a connection. Raises SSHException when the host is
    not a known one, ImportError when a password is given and pexpect is not there.
    """
    options = ["-f", "-S", "none", "-o", "ExitOnForwardFailure=yes"]
    options += ["-L", f"127.0.0.1:{lport}:{remoteip}:{rport}"]
    run = ["sleep", str(timeout)]
    if password is None:
        without = _ssh_command(server, keyfile, ["-o", "BatchMode=yes", *options], run)
        pid, status, said = _run_ssh(without)
        if status == 0:
            return pid
        if "Permission denied" not in said:
            raise SSHException(f"tunnel to {server} failed: {said}")
    if pexpect is None:
        raise ImportError("pexpect unavailable, use paramiko_tunnel")
    return _openssh_with_password(_ssh_command(server, keyfile, options, run), server, password)


def _openssh_with_password(command: list[str], server: str, password: str | None) -> int:
    # Without a window of its own to ask in: it has to ask us.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SSH_ASKPASS")}
    # It leads a session on a terminal that goes away, and its child is to survive that.
    ssh = pexpect.spawn(
        command[0], command[1:], env=environment, encoding="utf-8", ignore_sighup=True
    )
    outcomes = [_password_pat, re.compile(r"\(yes/no"), pexpect.EOF, pexpect.TIMEOUT]
    deadline = time.monotonic() + _ANSWER_SECONDS
    rejected = False
    try:
        # The one in the background keeps the terminal open: there may be no EOF.
        while ssh.isalive() and time.monotonic() < deadline:
            found = ssh.expect(outcomes, timeout=_LOOK_SECONDS)
            if found == 1:
                raise SSHException("The authenticity of the host can't be established.")
            if found != 0:
                continue
            if rejected:
                print("Password rejected, try again")
                password = None
            if password is None:
                password = getpass(f"{server}'s password: ")
                deadline = time.monotonic() + _ANSWER_SECONDS
            ssh.sendline(password)
            rejected = True
        alive = ssh.isalive()
        said = (ssh.before or "").strip() if isinstance(ssh.before, str) else ""
    finally:
        ssh.close(force=True)
    if alive or ssh.exitstatus != 0:
        why = "no answer" if alive else said
        raise SSHException(f"tunnel to {server} failed: {why}")
    return int(ssh.pid)


ssh_tunnel = openssh_tunnel


# --- paramiko -------------------------------------------------------------------------------------


def _split_server(server: str) -> tuple[str, str, int]:
    """User, host and port; ours and SSH's where ``server`` does not say them."""
    user, host, port = _server_parts(server)
    return user or getuser(), host, port or _SSH_PORT


def _connect(server: str, **credentials: Any) -> Any:
    """A client that is connected, or the exception why it is not."""
    user, host, port = _split_server(server)
    client = _client()
    try:
        client.connect(host, port, username=user, look_for_keys=True, **credentials)
    except BaseException:
        client.close()
        raise
    return client


def _client() -> Any:
    """A client that knows the hosts that we know."""
    name = os.environ.get(_POLICY_VARIABLE) or "Reject"
    policy = getattr(paramiko, f"{name}Policy", None)
    if policy is None:
        raise ValueError(f"{_POLICY_VARIABLE}={name}: should be AutoAdd, Warning or Reject")
    client = paramiko.SSHClient()
    client.load_system_host_keys()
    client.set_missing_host_key_policy(policy())
    return client


def _try_passwordless_paramiko(server: str, keyfile: str | None) -> bool:
    if paramiko is None:
        raise ImportError("Paramiko unavailable, use OpenSSH.")
    try:
        _connect(server, key_filename=keyfile).close()
    except paramiko.AuthenticationException:
        return False
    return True


def paramiko_tunnel(
    lport: int,
    rport: int,
    server: str,
    remoteip: str = "127.0.0.1",
    keyfile: str | None = None,
    password: str | None = None,
    timeout: int = 60,
) -> Process:
    """Forwards as `openssh_tunnel`, by a process that runs paramiko; it ends with the program.

    The environment's PYZMQ_PARAMIKO_HOST_KEY_POLICY (AutoAdd, Warning, Reject) says what is done
    about unknown hosts; they are rejected by default. ``timeout`` is not used. ``keyfile`` and
    ``password`` are for ``server``. Raises ImportError when paramiko is not there.
    """
    if paramiko is None:
        raise ImportError("Paramiko not available")
    if password is None and not _try_passwordless_paramiko(server, keyfile):
        password = getpass(f"{server}'s password: ")
    process = Process(
        target=_paramiko_tunnel,
        args=(lport, rport, server, remoteip),
        kwargs={"keyfile": keyfile, "password": password},
        daemon=True,
    )
    process.start()
    return process


def _paramiko_tunnel(
    lport: int,
    rport: int,
    server: str,
    remoteip: str,
    keyfile: str | None = None,
    password: str | None = None,
) -> None:
    """The process of a tunnel."""
    try:
        client = _connect(server, key_filename=keyfile, password=password)
        try:
            forward_tunnel(lport, remoteip, rport, client.get_transport())
        finally:
            client.close()
    except KeyboardInterrupt:
        pass
    except Exception as error:
        sys.exit(f"tunnel to {server} failed: {error!r}")
