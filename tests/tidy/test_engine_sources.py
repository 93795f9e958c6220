"""The house rules of the C code, held by reading it.

Each rule is a function from text to complaints, and is itself tried on a text that breaks it:
a rule that cannot fail holds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "zmq_monocoque" / "_engine"
EXT = ROOT / "zmq_monocoque" / "_ext"
CAPI = ROOT / "zmq_monocoque" / "_capi"

#: Which folders a folder may include, besides itself.
MAY_INCLUDE = {
    "base": set(),
    "driver": {"base"},
    "zmtp": {"base"},
    "route": {"base"},
    # "": engine.h, api.h and objects.h. From here on structures point to each other, and the order
    # is that of calls, which test_engine_circles.py holds.
    "pipe": {"base", "driver", "zmtp", "route", "", "connection", "socket", "context"},
    "connection": {"base", "driver", "zmtp", "", "pipe", "socket", "context"},
    "pattern": {"base", "zmtp", "route", "", "pipe", "connection", "socket"},
    "socket": {"base", "driver", "zmtp", "route", "", "pipe", "connection", "context"},
    "context": {"base", "driver", "zmtp", "", "pipe", "socket"},
    "": {"base", "pipe", "socket", "context"},  # api.c
}
#: The single headers of another folder that somebody may include besides: none yet.
EXCEPTIONS: set[tuple[str, str]] = set()

#: Never: they do not know how long the target is, or keep hidden state.
BANNED_ANYWHERE = ["strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "alloca"]
#: Only base/alloc.c, so that every block is counted.
BANNED_ALLOCATION = ["malloc", "calloc", "realloc", "free", "strdup", "strndup", "aligned_alloc"]
#: Calls on descriptors: only driver/ and base/ make them.
BANNED_SYSTEM_CALLS = (
    "socket socketpair bind listen accept accept4 connect shutdown send sendto sendmsg sendmmsg"
    " recv recvfrom recvmsg recvmmsg setsockopt getsockopt getsockname getpeername read readv write"
    " writev open openat close dup dup2 dup3 fcntl ioctl poll ppoll select pselect epoll_create1"
    " epoll_ctl epoll_wait epoll_pwait eventfd timerfd_create timerfd_settime pipe pipe2 unlink"
    " mmap munmap syscall getaddrinfo if_nametoindex"
).split()
#: Lines of a file of the engine; and which have more, and why.
LONGEST = {".h": 250, ".c": 600}
MAY_BE_LONG = {
    "pipe/inproc.c": "both ends of a link, which its lock guards together",
    "route/subscription_index.c": "one data structure",
}
#: The engine knows a pattern by its table (socket/pattern.h). Why a file outside pattern/ names
#: some:
NAMES_PATTERNS = {
    "socket/options.h": "libzmq's numbers of the types",
    "socket/socket.c": "a monitor's own socket is a PAIR",
    "socket/by_handle.c": "peer_state() is of a ROUTER, as in libzmq",
    "socket/proxy.c": "an application of sockets, as libzmq's is",
}
#: Their own folder; ZMTP, which tells the peer the type; and a table of routing ids.
OF_PATTERNS = {"pattern", "zmtp", "route"}
PATTERN_NAMES = "PAIR PUB SUB REQ REP DEALER ROUTER PULL PUSH XPUB XSUB STREAM".split()
#: zmtp/ and route/ are functions of their input: no time, no threads.
BANNED_CLOCK_AND_THREADS = [
    *"clock_gettime gettimeofday time nanosleep usleep pthread_create zm_now_ns".split(),
    *"pthread_mutex_lock pthread_cond_wait zm_lock_acquire zm_lock_release".split(),
]


def code_of(text: str) -> str:
    """The text with comments and the contents of strings blanked, line numbers kept."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", blank, text, flags=re.DOTALL)


def c_files() -> list[Path]:
    return sorted([*ENGINE.rglob("*.[ch]"), *EXT.rglob("*.[ch]"), *CAPI.rglob("*.[ch]")])


def folder_of(path: Path) -> str:
    """base, driver, zmtp ...; "" for what lies in _engine itself; "ext", "capi"."""
    if CAPI in path.parents:
        return "capi"
    if ENGINE not in path.parents:
        return "ext"
    return path.relative_to(ENGINE).parts[0] if path.parent != ENGINE else ""


def included(text: str) -> list[str]:
    """The targets of ``#include "..."``."""
    return re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', text, flags=re.MULTILINE)


def wrong_includes(folder: str, text: str) -> list[str]:
    """Includes of our own headers that the table forbids."""
    wrong = []
    for target in included(text):
        if "/" in target.removeprefix("../"):
            other = target.removeprefix("../").split("/")[0]
        elif target.startswith("../"):
            other = ""
        else:
            other = folder if not (ENGINE / target).exists() or folder == "" else ""
        if folder == "capi":
            own = (CAPI / target).exists() or (CAPI / "include" / target).exists()
            if not own and not target.startswith("base/") and target not in ("api.h", "engine.h"):
                wrong.append(target)
        elif folder == "ext":
            if "/" in target and target != "../_engine/api.h":
                wrong.append(target)
        elif (
            other != folder
            and other not in MAY_INCLUDE[folder]
            and (folder, target) not in EXCEPTIONS
        ):
            wrong.append(target)
    return wrong


def calls(text: str, names: list[str]) -> list[str]:
    """``line: name`` for each call of one of ``names``; members and declarations' own uses of a
    name as a field (``table->send(``, ``.close(``) are not calls of it."""
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    found = []
    for number, line in enumerate(code_of(text).splitlines(), 1):
        found += [f"{number}: {m[1]}" for m in pattern.finditer(line)]
    return found


def banned_in(folder: str, name: str) -> list[str]:
    banned = list(BANNED_ANYWHERE)
    if (folder, name) != ("base", "alloc.c") and folder not in ("ext", "capi"):
        banned += BANNED_ALLOCATION
    if folder not in ("base", "driver"):
        banned += BANNED_SYSTEM_CALLS
    if (folder, name) == ("capi", "handles.c"):
        banned.remove("mmap")  # one mapping, for what programs hold addresses into
    if (folder, name) == ("ext", "release.c"):
        banned.remove("syscall")  # a futex, of threads that have the GIL and others that have none
    if folder in ("zmtp", "route"):
        banned += BANNED_CLOCK_AND_THREADS
    return banned


def patterns_named(text: str) -> list[str]:
    """``line: name`` wherever the code speaks of one pattern: by its number, table or function."""
    names = "|".join(PATTERN_NAMES)
    named = re.compile(rf"\bZM_(?:{names})\b|\bzm_(?:pattern_)?(?:{names.lower()})(?:_\w+)?\b")
    return [
        f"{number}: {m[0]}"
        for number, line in enumerate(code_of(text).splitlines(), 1)
        for m in named.finditer(line)
    ]


def too_long(path: Path) -> list[str]:
    """A header or a C file that is no longer read at one sitting."""
    most, lines = LONGEST[path.suffix], len(path.read_text().splitlines())
    return [f" {lines} lines, {most} at most"] if lines > most else []


def complaints(rule: Callable[[Path], list[str]]) -> str:
    """What ``rule`` says of every C file, a line each."""
    return "\n".join(
        f"{path.relative_to(ROOT)}:{what}" for path in c_files() for what in rule(path)
    )


def test_a_file_includes_only_the_folders_below_its_own():
    wrong = complaints(lambda p: wrong_includes(folder_of(p), p.read_text()))
    assert not wrong, wrong


def test_a_file_makes_no_call_that_its_folder_forbids():
    wrong = complaints(lambda p: calls(p.read_text(), banned_in(folder_of(p), p.name)))
    assert not wrong, wrong


def test_no_file_of_the_engine_is_too_long(tmp_path):
    long = {str(p.relative_to(ENGINE)) for p in ENGINE.rglob("*.[ch]") if too_long(p)}
    assert long == set(MAY_BE_LONG), "one that is too long, or an exception that is not needed"
    for suffix, most in LONGEST.items():
        path = tmp_path / f"x{suffix}"
        path.write_text("\n" * most)
        assert not too_long(path)
        path.write_text("\n" * (most + 1))
        assert too_long(path)


def begins_with_words(text: str) -> bool:
    """A comment that says more than a name, before anything else."""
    comment = re.match(r"/\*(.*?)\*/", text, flags=re.DOTALL)
    return bool(comment) and len(comment[1].split()) >= 4


def test_each_header_says_what_it_is_about():
    silent = [str(p.relative_to(ROOT)) for p in c_files() if p.suffix == ".h"]
    silent = [name for name in silent if not begins_with_words((ROOT / name).read_text())]
    assert not silent
    assert begins_with_words("/* Timers: a binary heap. */\n")
    assert not begins_with_words("/* timer.h */\n#ifndef X\n/* Timers: a binary heap. */\n")


def test_no_pattern_is_named_outside_its_folder():
    named = {}
    for path in ENGINE.rglob("*.[ch]"):
        found = patterns_named(path.read_text())
        if found and folder_of(path) not in OF_PATTERNS:
            named[str(path.relative_to(ENGINE))] = found
    unexpected = {name: found for name, found in named.items() if name not in NAMES_PATTERNS}
    assert not unexpected, unexpected
    assert set(named) == set(NAMES_PATTERNS), "an exception that is not needed any more"


def test_every_c_file_is_in_the_build_and_every_file_in_the_build_exists(engine_build):
    there = {str(p.relative_to(ENGINE)) for p in ENGINE.rglob("*.c")}
    assert sorted(engine_build.SOURCES) == sorted(there)
    assert sorted(engine_build.EXT_SOURCES) == sorted(p.name for p in EXT.glob("*.c"))
    assert sorted(engine_build.CAPI_SOURCES) == sorted(p.name for p in CAPI.glob("*.c"))


def test_the_sources_are_listed_in_the_order_data_flows(engine_build):
    order = [*MAY_INCLUDE, "api.c"]
    folders = [source.split("/")[0] for source in engine_build.SOURCES]
    assert folders == sorted(folders, key=order.index)


def test_the_include_rule_sees_a_zmtp_file_that_reaches_for_the_driver():
    text = '#include "../driver/driver.h"\n#include "driver/address.h"\n#include "base/list.h"\n'
    assert wrong_includes("zmtp", text) == ["../driver/driver.h", "driver/address.h"]
    assert wrong_includes("ext", '#include "../_engine/pipe/peer.h"\n') == [
        "../_engine/pipe/peer.h"
    ]
    assert wrong_includes("base", '#include "api.h"\n') == ["api.h"]
    assert wrong_includes("capi", '#include "socket/socket.h"\n#include "capi.h"\n') == [
        "socket/socket.h"
    ]
    text = '#include "../engine.h"\n#include "../zmtp/session.h"\n#include "../pattern/dist.h"\n'
    assert wrong_includes("context", text) == ["../pattern/dist.h"]


def test_the_pattern_rule_sees_a_type_a_table_and_a_function_of_a_pattern():
    text = (
        "/* ZM_PUB */\nif (s->type == ZM_PUB)\nx = &zm_pattern_req;\nzm_xpub_subscription(p);\n"
        "zm_pattern_of(type); zm_peer_subscribe_locked(p); ZM_SUBSCRIBE_FRAME;\n"
    )
    assert patterns_named(text) == ["2: ZM_PUB", "3: zm_pattern_req", "4: zm_xpub_subscription"]


def test_the_call_rule_sees_banned_calls_and_only_calls():
    text = (
        '/* free(x) */\nx->free(y); s = "read(";\nstrcpy(a, b);\nzm_free(p);\n  read(fd, p, 1);\n'
    )
    assert calls(text, banned_in("zmtp", "x.c")) == ["3: strcpy", "5: read"]
    assert calls("free(p);", banned_in("base", "alloc.c")) == []
    assert calls("free(p);", banned_in("base", "block.c")) == ["1: free"]


def test_the_declarations_given_to_cffi_are_free_of_what_it_cannot_read(engine_build):
    header = (
        "/* text #if */\n#define A \\\n  1\n  # include <x.h>\nint f(int a); // end\n"
        "static inline int g(int a)\n{\n    if (a) { return 1; }\n    return 2;\n}\nint h(void);\n"
    )
    assert engine_build.declarations(header).split() == "int f(int a); int h(void);".split()
