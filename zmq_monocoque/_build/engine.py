"""The cffi build of the engine: which files, which flags, which declarations.

Knows nothing of setuptools; ``setup.py`` asks it for ``ffibuilder()`` and ``extension()``.
``ZM_SANITIZE`` (empty, ``address,undefined`` or ``thread``) builds both extensions with gcc's
sanitizers, into a build directory of their own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
#: Relative to ROOT, as setuptools wants it.
ENGINE = "zmq_monocoque/_engine"

#: Every C file of the engine, by hand, in the order data flows up from the kernel.
#: tests/tidy checks that none is missing.
SOURCES = [
    # base: memory, locks, numbers
    "base/check.c",
    "base/alloc.c",
    "base/block.c",
    "base/errors.c",
    "base/lock.c",
    "base/secret.c",
    "base/names.c",
    "base/fds.c",
    "base/z85.c",
    "base/crypto.c",
    "base/timer.c",
    # driver: the two of them, names and addresses
    "driver/driver.c",
    "driver/check_memory.c",
    "driver/uring_calls.c",
    "driver/io_uring.c",
    "driver/io_uring_open.c",
    "driver/uring_messenger.c",
    "driver/epoll.c",
    "driver/probe.c",
    "driver/address.c",
    "driver/sockopt.c",
    "driver/sandbox.c",
    "driver/waitset.c",
    # zmtp: bytes to messages and back
    "zmtp/session_state.c",
    "zmtp/greeting.c",
    "zmtp/framing.c",
    "zmtp/command.c",
    "zmtp/socket_type.c",
    "zmtp/mechanism_null.c",
    "zmtp/mechanism_plain.c",
    "zmtp/mechanism_curve.c",
    "zmtp/mechanism.c",
    "zmtp/encoding.c",
    "zmtp/heartbeat.c",
    "zmtp/session.c",
    "zmtp/session_handle.c",
    # route: whose turn is it
    "route/router_table.c",
    "route/subscription_index.c",
    # pipe: what libzmq calls a pipe: peers, their queues, links over inproc
    "pipe/frames.c",
    "pipe/metadata.c",
    "pipe/peer.c",
    "pipe/state.c",
    "pipe/inproc.c",
    # connection: a descriptor and its session
    "connection/state.c",
    "connection/close.c",
    "connection/send.c",
    "connection/handshake.c",
    "connection/receive.c",
    "connection/connection.c",
    "connection/zap.c",
    # pattern: what each type of socket does
    "pattern/shared.c",
    "pattern/patterns.c",
    "pattern/load_balancer.c",
    "pattern/fair_queue.c",
    "pattern/dist.c",
    "pattern/options.c",
    "pattern/pair.c",
    "pattern/pipeline.c",
    "pattern/dealer.c",
    "pattern/req.c",
    "pattern/rep.c",
    "pattern/router.c",
    "pattern/pub.c",
    "pattern/sub.c",
    # socket: endpoints, options, and how a socket is driven
    "socket/wakeup.c",
    "socket/order.c",
    "socket/transfer.c",
    "socket/pacing.c",
    "socket/drive.c",
    "socket/turns.c",
    "socket/resolver.c",
    "socket/endpoint.c",
    "socket/endpoint_state.c",
    "socket/listener.c",
    "socket/connecter.c",
    "socket/endpoints.c",
    "socket/socks.c",
    "socket/bytes.c",
    "socket/options_table.c",
    "socket/options_values.c",
    "socket/options.c",
    "socket/socket.c",
    "socket/by_handle.c",
    "socket/monitor.c",
    "socket/poll.c",
    "socket/proxy.c",
    # context: contexts, the I/O thread, what belongs to the process
    "context/signals.c",
    "context/process.c",
    "context/io_thread.c",
    "context/serve.c",
    "context/pool.c",
    "context/context.c",
    "context/handles.c",
    "context/fork.c",
    # the table for the extension
    "api.c",
]

#: The extension, likewise.
EXT = "zmq_monocoque/_ext"
EXT_SOURCES = [
    "module.c",
    "signals.c",
    "socket.c",
    "calls.c",
    "send.c",
    "recv.c",
    "poll.c",
    "frame.c",
    "release.c",
]

#: The C face, likewise. It is linked with the objects of the engine, which are compiled once.
CAPI = "zmq_monocoque/_capi"
CAPI_SOURCES = [
    "handles.c",
    "start.c",
    "context.c",
    "socket.c",
    "message.c",
    "transfer.c",
    "poll.c",
    "poller.c",
    "proxy.c",
    "timers.c",
    "utils.c",
]
CAPI_LIBRARIES = "zmq_monocoque/_capi/zmq"
CAPI_NAME = "libzmq_monocoque.so"
#: What programs that were linked with libzmq ask the loader for.
CAPI_SONAME = "libzmq.so.5"
#: libzmq.so, what the linker looks for when it is told -lzmq.
CAPI_LINKER_NAME = "libzmq.so"
CAPI_LINKER_SCRIPT = f"INPUT({CAPI_NAME})\n"

#: The headers whose declarations Python sees.
CDEF_HEADERS = ["engine.h", "zmtp/session_handle.h"]

SANITIZE = os.environ.get("ZM_SANITIZE", "")
#: The name of the build directory: build/<VARIANT>.
VARIANT = SANITIZE.replace(",", "+") or "plain"

INCLUDE_DIRS = [ENGINE]
CFLAGS = ["-std=gnu11", "-D_GNU_SOURCE=", "-fvisibility=hidden", "-pthread", "-Wall"]
# Bound at once: binding a call at its first use keeps the vector registers on the stack meanwhile,
# and with them perhaps a secret that memcpy() has just moved.
LDFLAGS = ["-pthread", "-Wl,-z,now"]
if SANITIZE:
    CFLAGS += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g", "-O1"]
    LDFLAGS += [f"-fsanitize={SANITIZE}"]
    if "undefined" in SANITIZE:
        CFLAGS += ["-fno-sanitize-recover=undefined"]
else:
    CFLAGS += ["-O2", "-g0"]


def declarations(header: str) -> str:
    """What cffi may read of a C header: no comments, no preprocessor, no inline bodies."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", " ", text)
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"_Static_assert\s*\([^;]*;", "", text)
    while (start := re.search(r"\bstatic\s+inline\b", text)) is not None:
        end, depth = text.index("{", start.start()), 0
        while True:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if depth == 0:
                break
        text = text[: start.start()] + text[end:]
    return text


def ffibuilder() -> Any:
    """The cffi module ``zmq_monocoque._engine_c`` (``ffi``, ``lib``)."""
    from cffi import FFI

    ffi = FFI()
    for header in CDEF_HEADERS:
        ffi.cdef(declarations((ROOT / ENGINE / header).read_text()))
    ffi.set_source(
        "zmq_monocoque._engine_c",
        "".join(f'#include "{header}"\n' for header in CDEF_HEADERS),
        sources=[f"{ENGINE}/{source}" for source in SOURCES],
        include_dirs=INCLUDE_DIRS,
        extra_compile_args=CFLAGS,
        extra_link_args=LDFLAGS,
    )
    return ffi


def extension() -> dict[str, Any]:
    """Arguments of the setuptools Extension ``zmq_monocoque._ext``."""
    return {
        "name": "zmq_monocoque._ext",
        "sources": [f"{EXT}/{source}" for source in EXT_SOURCES],
        "include_dirs": INCLUDE_DIRS,
        "extra_compile_args": CFLAGS,
        "extra_link_args": LDFLAGS,
    }


def capi() -> dict[str, Any]:
    """What libzmq_monocoque.so is made of, and the small library beside it that has libzmq's name:
    a wheel cannot hold links, and two copies would be two engines in a process."""
    return {
        "sources": [f"{CAPI}/{source}" for source in CAPI_SOURCES],
        "engine": [f"{ENGINE}/{source}" for source in SOURCES],
        "include_dirs": INCLUDE_DIRS,
        "extra_compile_args": CFLAGS,
        # What it calls of itself is its own, also in a program that has libzmq before it.
        "libraries": {
            CAPI_NAME: [
                *LDFLAGS,
                "-Wl,-Bsymbolic",
                "-Wl,-z,nodelete",
                f"-Wl,-soname,{CAPI_NAME}",
            ],
            CAPI_SONAME: [
                *LDFLAGS,
                "-Wl,--no-as-needed",
                "-Wl,-rpath,$ORIGIN",
                f"-Wl,-soname,{CAPI_SONAME}",
            ],
        },
    }
