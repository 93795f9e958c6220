"""Debian's source of libzmq, with Debian's patches, by an apt of our own: the system's stays as it
is."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

#: Debian 12's. Other versions of libzmq have other tests.
VERSION = "4.3.4-6"
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
#: What is fetched, and what it has to be.
FILES = {
    "zeromq3_4.3.4.orig.tar.gz": (
        "0ff5a531c9ffaf0dfdc7dc78d13d1383088f454896d252934c429b2554d10559"
    ),
    "zeromq3_4.3.4-6.debian.tar.xz": (
        "fbb0dcb4ffbf483d416d9af722db74ad4edd7004625ce10381e8cd3a71b6cd58"
    ),
}


class Problem(Exception):
    """The suite could not be made ready; the text says why."""


class Unavailable(Problem):
    """It cannot be made ready on this machine: a tool is missing, or there is no network."""


def run(
    *command: str | Path, cwd: Path | None = None, timeout: float | None = None, **variables: str
) -> str:
    """Runs a command, and answers what it printed; `Problem` with that when it fails, or takes more
    than ``timeout`` seconds."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Problem(str(error)) from error
    if done.returncode:
        raise Problem(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def are_fetched(downloads: Path) -> bool:
    return all((downloads / n).exists() and sha256(downloads / n) == s for n, s in FILES.items())


def apt_configuration(folder: Path, suite: str, *settings: str) -> Path:
    """Of an apt whose lists and cache lie in ``folder``; ``settings`` are lines of apt.conf."""
    apt = folder / "apt"
    for directory in ("lists/partial", "cache/archives/partial", "parts"):
        (apt / directory).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(
        "".join(f"{kind} [trusted=yes] {MIRROR} {suite} main\n" for kind in ("deb", "deb-src")),
        encoding="utf-8",
    )
    (apt / "status").touch()
    places = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": apt / "parts",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
    }
    lines = [*(f'{name} "{place}";' for name, place in places.items()), *settings]
    configuration = apt / "apt.conf"
    configuration.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return configuration


def apt(work: Path, suite: str = SUITE, architecture: str = "") -> Path:
    """The configuration of an apt of our own, with its lists read; of another architecture than
    this machine's, if need be."""
    settings = ['Acquire::Retries "3";']
    if architecture:
        settings.append(f'APT::Architecture "{architecture}";')
        settings.append(f'APT::Architectures {{ "{architecture}"; }};')
    configuration = apt_configuration(work, suite, *settings)
    run("apt-get", "update", APT_CONFIG=str(configuration))
    return configuration


def download(package: str, downloads: Path, work: Path, suite: str = SUITE) -> None:
    """The files of one of Debian's source packages, into ``downloads``; ``work`` is for apt."""
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        run(
            *("apt-get", "source", "--download-only", package),
            cwd=downloads,
            APT_CONFIG=str(apt(work, suite)),
        )
    except Problem as problem:
        raise Unavailable(str(problem)) from problem


def fetch(work: Path, downloads: Path) -> None:
    """Downloads the source package."""
    download(f"zeromq3={VERSION}", downloads, work)
    for name, wanted in FILES.items():
        if sha256(downloads / name) != wanted:
            raise Problem(f"{downloads / name} is not the file that it was")


def unpack(downloads: Path, source: Path) -> None:
    """Lays the source out as Debian builds it."""
    shutil.rmtree(source, ignore_errors=True)
    upstream, debian = (downloads / name for name in FILES)
    with tarfile.open(upstream) as archive:
        top = archive.getnames()[0].split("/")[0]
        archive.extractall(source.parent, filter="data")
    (source.parent / top).rename(source)
    with tarfile.open(debian) as archive:
        archive.extractall(source, filter="data")
    patches = source / "debian" / "patches"
    for name in (patches / "series").read_text(encoding="utf-8").split():
        run("patch", "-p1", "--silent", "--input", patches / name, cwd=source)


def prepare(work: Path) -> Path:
    """The unpacked source, fetched and laid out if it was not before."""
    downloads, source, stamp = work / "downloads", work / "source", work / "source.stamp"
    if not are_fetched(downloads):
        fetch(work, downloads)
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != VERSION:
        unpack(downloads, source)
        stamp.write_text(VERSION, encoding="utf-8")
    return source
