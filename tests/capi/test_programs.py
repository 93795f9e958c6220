"""Programs in C and C++ over the C face: compiled against our header, or linked for libzmq."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.c import own_environment

ROUND_TRIP = r"""
#include <zmq.h>
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Has this process a ring of io_uring? */
static int has_ring(void)
{
    char path[512], target[256];
    int found = 0;
    DIR *all = opendir("/proc/self/fd");
    struct dirent *one;
    while ((one = readdir(all))) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", one->d_name);
        ssize_t size = readlink(path, target, sizeof target - 1);
        if (size > 0) {
            target[size] = 0;
            found |= strstr(target, "io_uring") != NULL;
        }
    }
    closedir(all);
    return found;
}

int main(void)
{
    int major, minor, patch;
    zmq_version(&major, &minor, &patch);
    assert(ZMQ_MAKE_VERSION(major, minor, patch) == ZMQ_VERSION);
    void *context = zmq_ctx_new();
    void *server = zmq_socket(context, ZMQ_REP), *client = zmq_socket(context, ZMQ_REQ);
    char endpoint[256], text[16];
    size_t size = sizeof endpoint;
    assert(zmq_bind(server, "tcp://127.0.0.1:*") == 0);
    assert(zmq_getsockopt(server, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    assert(zmq_connect(client, endpoint) == 0);
    assert(zmq_send(client, "hello", 5, 0) == 5);
    assert(zmq_recv(server, text, sizeof text, 0) == 5);
    assert(zmq_send(server, "world", 5, 0) == 5);
    zmq_pollitem_t item = {client, 0, ZMQ_POLLIN, 0};
    assert(zmq_poll(&item, 1, 30000) == 1 && item.revents == ZMQ_POLLIN);
    int length = zmq_recv(client, text, sizeof text, 0);
    printf("%.*s %s\n", length, text, has_ring() ? "io_uring" : "epoll");
    assert(zmq_close(client) == 0 && zmq_close(server) == 0 && zmq_ctx_term(context) == 0);
    return 0;
}
"""


@pytest.mark.parametrize("name", ["round_trip.c", "round_trip.cpp"])
def test_a_program_talks_to_itself_on_the_driver_that_python_has(package, build, run_program, name):
    driver = package.backend.driver_name()
    printed = run_program(build(name, ROUND_TRIP), ZMQ_MONOCOQUE_DRIVER=driver)
    assert printed == f"world {driver}\n"


def test_a_program_may_be_told_to_use_epoll(build, run_program):
    program = build("round_trip.c", ROUND_TRIP)
    assert run_program(program, ZMQ_MONOCOQUE_DRIVER="epoll") == "world epoll\n"


@pytest.mark.parametrize("flags", [("-std=c99",), ("-std=c11", "-pedantic")])
def test_the_header_is_plain_c(build, flags):
    both = "#include <zmq.h>\n#define ZMQ_BUILD_DRAFT_API\n#include <zmq_utils.h>\n"
    build("header.c", f"{both}int main(void) {{ return sizeof(zmq_msg_t) != 64; }}\n", *flags)


def test_a_program_that_was_linked_with_libzmq_runs_with_it(package, face, tmp_path, run_program):
    """By LD_LIBRARY_PATH: what it asks the loader for is libzmq.so.5."""
    if shutil.which("gcc") is None:
        pytest.skip("no compiler")
    stand_in, program = tmp_path / "libzmq.so", tmp_path / "program"
    calls = ["zmq_ctx_new", "zmq_ctx_term", "zmq_socket", "zmq_close", "zmq_version", "zmq_bind"]
    calls += ["zmq_getsockopt", "zmq_connect", "zmq_send", "zmq_recv", "zmq_poll"]
    (tmp_path / "stand_in.c").write_text("".join(f"void {name}(void) {{}}\n" for name in calls))
    (tmp_path / "program.c").write_text(ROUND_TRIP)
    include = package.get_includes()[-1]
    for command in (
        ["gcc", "-shared", "-fPIC", "-Wl,-soname,libzmq.so.5", "stand_in.c", "-o", str(stand_in)],
        ["gcc", f"-I{include}", "program.c", "-o", str(program), f"-L{tmp_path}", "-lzmq"],
    ):
        subprocess.run(command, cwd=tmp_path, env=own_environment(), check=True, timeout=60)
    directory = package.get_library_dirs()[0]
    assert run_program(program, LD_LIBRARY_PATH=directory).startswith("world ")
    # By a link, as well.
    links = tmp_path / "links"
    links.mkdir()
    (links / "libzmq.so.5").symlink_to(face.path)
    assert run_program(program, LD_LIBRARY_PATH=str(links)).startswith("world ")


#: zmq_ppoll() is one.
DRAFTS = "#define _GNU_SOURCE\n#define ZMQ_BUILD_DRAFT_API\n"
SIGNALS = r"""
#include <zmq.h>
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t ran;
static pthread_t main_thread;
static pid_t main_id;

static void on_signal(int number)
{
    (void) number;
    ran++;
}

static int is_asleep(void)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int) main_id);
    FILE *file = fopen(path, "r");
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    return strstr(text, ") S ") != NULL;
}

/* Sends the main thread one signal, once it sleeps. */
static void *interrupt(void *argument)
{
    (void) argument;
    for (int seen = 0; seen < 5; usleep(2000))
        seen = is_asleep() ? seen + 1 : 0;
    pthread_kill(main_thread, SIGUSR1);
    return NULL;
}

/* The call says that it was interrupted, by one signal. */
#define INTERRUPTED(call) \
    do { \
        pthread_t thread; \
        ran = 0; \
        assert(pthread_create(&thread, NULL, interrupt, NULL) == 0); \
        assert((call) == -1 && zmq_errno() == EINTR && ran == 1); \
        pthread_join(thread, NULL); \
    } while (0)

int main(int argc, char **argv)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = argc > 1 && !strcmp(argv[1], "restart") ? SA_RESTART : 0;
    assert(sigaction(SIGUSR1, &action, NULL) == 0);
    main_thread = pthread_self();
    main_id = gettid();
    void *context = zmq_ctx_new();
    void *pull = zmq_socket(context, ZMQ_PULL), *push = zmq_socket(context, ZMQ_PUSH);
    void *alone = zmq_socket(context, ZMQ_PULL);
    char endpoint[256], text[16];
    size_t size = sizeof endpoint;
    zmq_msg_t msg;
    assert(zmq_bind(pull, "tcp://127.0.0.1:*") == 0 && zmq_bind(alone, "inproc://alone") == 0);
    assert(zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    assert(zmq_connect(push, endpoint) == 0);
    assert(zmq_send(push, "x", 1, 0) == 1 && zmq_recv(pull, text, sizeof text, 0) == 1);
    zmq_msg_init(&msg);
    zmq_pollitem_t items[] = {{pull, 0, ZMQ_POLLIN, 0}, {alone, 0, ZMQ_POLLIN, 0}};
    void *nobody = zmq_socket(context, ZMQ_PUSH);
    for (int i = 0; i < 3; i++) {
        /* A handshake comes meanwhile: what it asks the kernel for must not hide the signal. */
        void *late = zmq_socket(context, ZMQ_PULL), *early = zmq_socket(context, ZMQ_PUSH);
        size = sizeof endpoint;
        assert(zmq_bind(late, "tcp://127.0.0.1:*") == 0);
        assert(zmq_getsockopt(late, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
        assert(zmq_connect(early, endpoint) == 0);
        INTERRUPTED(zmq_recv(late, text, sizeof text, 0));
        assert(zmq_close(late) == 0 && zmq_close(early) == 0);
        INTERRUPTED(zmq_recv(pull, text, sizeof text, 0));
        INTERRUPTED(zmq_msg_recv(&msg, pull, 0));
        INTERRUPTED(zmq_recv(alone, text, sizeof text, 0));
        INTERRUPTED(zmq_poll(items, 2, -1));
        INTERRUPTED(zmq_send(nobody, "x", 1, 0));
        INTERRUPTED(zmq_proxy(pull, push, NULL));
    }

    /* A wait that no signal ends goes on for longer than the engine itself waits at a time. */
    int timeout = 700;
    zmq_setsockopt(pull, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    zmq_setsockopt(alone, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
    assert(zmq_recv(pull, text, sizeof text, 0) == -1 && zmq_errno() == EAGAIN);
    assert(zmq_recv(alone, text, sizeof text, 0) == -1 && zmq_errno() == EAGAIN);
    assert(zmq_poll(items, 2, 700) == 0);

    /* ppoll: a signal that is blocked outside it, and waits already. */
    sigset_t blocked, none;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    ran = 0;
    pthread_kill(main_thread, SIGUSR1);
    assert(zmq_poll(items, 2, 50) == 0 && ran == 0);
    assert(zmq_ppoll(items, 2, -1, &none) == -1 && zmq_errno() == EINTR && ran == 1);

    int linger = 0;
    zmq_setsockopt(nobody, ZMQ_LINGER, &linger, sizeof linger);
    assert(zmq_close(pull) == 0 && zmq_close(push) == 0 && zmq_close(alone) == 0);
    pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
    INTERRUPTED(zmq_ctx_term(context));
    assert(zmq_close(nobody) == 0 && zmq_ctx_term(context) == 0);
    puts("done");
    return 0;
}
"""


@pytest.mark.skipif(
    "tsan" in os.environ.get("LD_PRELOAD", ""), reason="ThreadSanitizer runs handlers later"
)
@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
@pytest.mark.parametrize("how", ["plain", "restart"])
def test_a_signal_interrupts_and_nothing_else_does(build, run_program, how, driver):
    program = build("signals.c", DRAFTS + SIGNALS)
    # A wait that spins has submitted everything before it sleeps.
    variables = {"ZMQ_MONOCOQUE_DRIVER": driver, "ZMQ_MONOCOQUE_SPIN": "0"}
    assert run_program(program, how, **variables) == "done\n"


THREADS = r"""
#include <zmq.h>
#include <assert.h>
#include <stdio.h>

static void *_Atomic sockets[64];
static void *stop;

/* Takes what others make, whatever it is by now. */
static void meddle(void *argument)
{
    char text[16];
    zmq_msg_t msg;
    zmq_pollitem_t item = {0};
    (void) argument;
    zmq_msg_init(&msg);
    for (unsigned i = 0; !zmq_atomic_counter_value(stop); i++) {
        void *socket = sockets[i % 64];
        zmq_send(socket, "x", 1, ZMQ_DONTWAIT);
        zmq_recv(socket, text, sizeof text, ZMQ_DONTWAIT);
        zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT);
        item.socket = socket;
        item.events = ZMQ_POLLIN | ZMQ_POLLOUT;
        if (socket)
            zmq_poll(&item, 1, 0);
        if (i % 7 == 0)
            zmq_close(socket);
    }
    zmq_msg_close(&msg);
}

int main(void)
{
    void *threads[3], *context = zmq_ctx_new();
    stop = zmq_atomic_counter_new();
    for (int i = 0; i < 3; i++)
        threads[i] = zmq_threadstart(meddle, NULL);
    for (unsigned i = 0; i < 4000; i++) {
        void *old = sockets[i % 64];
        sockets[i % 64] = zmq_socket(context, i % 2 ? ZMQ_PUSH : ZMQ_PULL);
        if (i % 2)
            zmq_connect(sockets[i % 64], "inproc://a");
        else
            zmq_bind(sockets[i % 64], "inproc://a");
        zmq_close(old);
    }
    zmq_atomic_counter_inc(stop);
    for (int i = 0; i < 3; i++)
        zmq_threadclose(threads[i]);
    for (int i = 0; i < 64; i++)
        zmq_close(sockets[i]);
    zmq_atomic_counter_destroy(&stop);
    assert(zmq_ctx_term(context) == 0);
    puts("done");
    return 0;
}
"""


def test_threads_that_use_and_close_each_others_sockets_do_no_harm(build, run_program):
    assert run_program(build("threads.c", THREADS)) == "done\n"


FORK = r"""
#include <zmq.h>
#include <assert.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    void *context = zmq_ctx_new(), *pull = zmq_socket(context, ZMQ_PULL);
    char endpoint[256], text[16];
    size_t size = sizeof endpoint;
    assert(zmq_bind(pull, "tcp://127.0.0.1:*") == 0);
    assert(zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    pid_t child = fork();
    if (child == 0) {
        assert(zmq_recv(pull, text, sizeof text, 0) == -1 && zmq_errno() == ENOTSOCK);
        zmq_close(pull);
        zmq_ctx_term(context);
        void *own = zmq_ctx_new(), *push = zmq_socket(own, ZMQ_PUSH);
        assert(own && push && zmq_connect(push, endpoint) == 0);
        assert(zmq_send(push, "child", 5, 0) == 5);
        assert(zmq_close(push) == 0 && zmq_ctx_term(own) == 0);
        _exit(0);
    }
    int status;
    assert(zmq_recv(pull, text, sizeof text, 0) == 5);
    assert(waitpid(child, &status, 0) == child && status == 0);
    assert(zmq_close(pull) == 0 && zmq_ctx_term(context) == 0);
    puts("done");
    return 0;
}
"""


@pytest.mark.skipif(
    "san.so" in os.environ.get("LD_PRELOAD", ""),
    reason="gcc 12's runtime forks with the locks of its allocator as they are",
)
@pytest.mark.parametrize("driver", ["io_uring", "epoll"])
def test_a_forked_child_has_its_own(build, run_program, driver):
    assert run_program(build("fork.c", FORK), ZMQ_MONOCOQUE_DRIVER=driver) == "done\n"


def test_the_command_says_what_a_compiler_needs(face, tmp_path, run_program):
    def say(*options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "zmq_monocoque", "capi", *options],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=50,
        )
        return done.stdout.strip()

    assert say("--path") == face.path
    assert say() == f"{say('--cflags')} {say('--libs')}" == say("--cflags", "--libs")
    if shutil.which("cc") is None:
        pytest.skip("no compiler")
    program = tmp_path / "program"
    (tmp_path / "program.c").write_text(ROUND_TRIP)
    command = f"cc {say('--cflags')} program.c -o {program} {say('--libs')}"
    subprocess.run(command, shell=True, cwd=tmp_path, env=own_environment(), check=True, timeout=60)
    assert run_program(program).startswith("world ")


def test_the_library_shows_the_functions_of_zmq_h_alone(face):
    if shutil.which("nm") is None:
        pytest.skip("no binutils")
    done = subprocess.run(
        ["nm", "-D", "--defined-only", face.path], check=True, capture_output=True, text=True
    )
    names = {line.split()[-1] for line in done.stdout.splitlines()}
    assert {name for name in names if not name.startswith("zmq_")} == set()
    assert len(names) > 90
    assert not {n for n in os.listdir(Path(face.path).parent) if n.endswith(".part")}
