"""CURVE keys in files: ``NAME.key`` with the public one, ``NAME.key_secret`` with both.

The format is CZMQ's (ZPL, RFC 4): sections, and below them, indented, ``key = "value"`` lines.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

from zmq_monocoque.backend import curve_keypair

__all__ = ["create_certificates", "load_certificate", "load_certificates"]

_PUBLIC_HEAD = """\
#   Made {now} by zmq_monocoque.
#   A public CURVE certificate (ZeroMQ). It is no secret, but whoever relies on it has to
#   be sure whose it is: hand it over in a way that nobody can change it.
"""
_SECRET_HEAD = """\
#   Made {now} by zmq_monocoque.
#   A SECRET CURVE certificate (ZeroMQ). It belongs on one machine, readable by one user.
"""
_PUBLIC_MODE = 0o644
_SECRET_MODE = 0o600


def _lines(key: bytes, secret: bytes | None, metadata: dict[str, str] | None) -> list[str]:
    lines = ["metadata"]
    lines += [f"    {name} = {value}" for name, value in (metadata or {}).items()]
    lines += ["curve", f'    public-key = "{key.decode()}"']
    if secret is not None:
        lines.append(f'    secret-key = "{secret.decode()}"')
    return lines


def _write(path: str, mode: int, text: str) -> None:
    """Writes a file that at no moment anybody can read whom ``mode`` keeps out."""
    # A new file in the place of an old one, whose mode may be another, and which may be open.
    beside = f"{path}.new"
    try:
        os.unlink(beside)
    except FileNotFoundError:
        pass
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def create_certificates(
    key_dir: str | os.PathLike[str], name: str, metadata: dict[str, str] | None = None
) -> tuple[str, str]:
    """Makes a pair of keys and writes them to ``key_dir``; the paths of the two files.

    They are NAME.key and NAME.key_secret for ``name``, with the pairs of ``metadata`` in both.

    The secret file is readable by its owner only (0600). Existing files are replaced. Raises
    OSError; ZMQError(ENOTSUP) when the engine has no CURVE.
    """
    public, secret = curve_keypair()
    public_path = os.path.join(key_dir, f"{name}.key")
    secret_path = os.path.join(key_dir, f"{name}.key_secret")
    now = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")
    for path, mode, head, lines in (
        (public_path, _PUBLIC_MODE, _PUBLIC_HEAD, _lines(public, None, metadata)),
        (secret_path, _SECRET_MODE, _SECRET_HEAD, _lines(public, secret, metadata)),
    ):
        _write(path, mode, head.format(now=now) + "\n" + "\n".join(lines) + "\n")
    return public_path, secret_path


def load_certificate(filename: str | os.PathLike[str]) -> tuple[bytes, bytes | None]:
    """The public key in the file ``filename`` and the secret one (None: not there), as Z85.

    Raises OSError when there is no such file, ValueError when no public key is in it.
    """
    path = Path(filename)
    if not path.exists():
        raise OSError(f"Invalid certificate file: {filename}")
    keys: dict[str, bytes] = {}
    # A value may be anything; only the keys must be ASCII.
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = line.strip()
        if line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if equals and name.strip() in ("public-key", "secret-key"):
            keys[name.strip()] = value.strip(" \t'\"").encode()
    if not keys.get("public-key"):
        raise ValueError(f"No public key found in {filename}")
    return keys["public-key"], keys.get("secret-key")


def load_certificates(directory: str | os.PathLike[str] = ".") -> dict[bytes, bool]:
    """The public keys of all ``*.key`` files in ``directory``, each with True.

    Raises OSError when there is no such directory; else as `load_certificate`.
    """
    path = Path(directory)
    if not path.is_dir():
        raise OSError(f"Invalid certificate directory: {directory}")
    return {load_certificate(file)[0]: True for file in sorted(path.glob("*.key"))}
