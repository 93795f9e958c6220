/* The world: all that the engine asks of what lies outside it. A program that links the engine's
 * own sources with other functions in place of these runs it in another world: tests/simulation
 * does, with a kernel, a network, threads and a clock of its own, compiled with ZM_SIMULATED.
 *
 * In production each is the C library's function of that name, called directly, and what this file
 * defines is what stood there without it. The lists are whole: tests/tidy/test_world.py compares
 * them with what the built engine asks its linker for. */
#ifndef ZM_BASE_WORLD_H
#define ZM_BASE_WORLD_H

#include <stdint.h>

#define ZM_WORLD_CLOCK(X) X(clock_gettime)

#define ZM_WORLD_RANDOM(X) X(getrandom)

/* clang-format off */
/* Who is the calling thread, and what has it for itself? See also ZM_THREAD_LOCAL. */
#define ZM_WORLD_THREAD(X) \
    X(pthread_self) X(pthread_once) X(pthread_key_create) X(pthread_setspecific) \
    X(pthread_getschedparam) X(pthread_setschedparam) X(pthread_setaffinity_np) \
    X(pthread_setname_np) X(pthread_sigmask) X(setpriority) X(sched_getaffinity)

/* Where a thread sleeps, or gives others the processor. syscall() is for futexes (base/lock.c),
 * epoll_pwait2, the thread's id, and for rings. */
#define ZM_WORLD_PARK(X) \
    X(syscall) X(epoll_wait) X(poll) X(ppoll) X(nanosleep) X(sched_yield)

#define ZM_WORLD_SPAWN(X) \
    X(pthread_create) X(pthread_join) X(pthread_attr_init) X(pthread_attr_setdetachstate) \
    X(pthread_attr_destroy) X(__register_atfork) X(prctl) X(waitpid)

#define ZM_WORLD_DESCRIPTORS(X) \
    X(socket) X(bind) X(listen) X(connect) X(accept4) X(shutdown) X(recv) X(sendmsg) \
    X(setsockopt) X(getsockopt) X(getsockname) X(getpeername) X(epoll_create1) X(epoll_ctl) \
    X(eventfd) X(timerfd_create) X(timerfd_settime) X(pipe2) X(read) X(write) X(close) X(fcntl) \
    X(ioctl) X(stat) X(mkdtemp) X(rmdir) X(unlink)

#define ZM_WORLD_NAMES(X) \
    X(getaddrinfo) X(freeaddrinfo) X(getnameinfo) X(getifaddrs) X(freeifaddrs) \
    X(if_nametoindex)

/* What the process is given: its environment, shared objects, pages of memory. */
#define ZM_WORLD_PROCESS(X) \
    X(getenv) X(sysconf) X(dlopen) X(dlsym) X(dlerror) X(mmap) X(munmap) X(madvise) X(mlock)

/* Rings, as driver/uring_calls.c gives them to the driver where liburing cannot be loaded. */
#define ZM_WORLD_RINGS(X) \
    X(zm_uring_calls_init) X(zm_uring_calls_exit) X(zm_uring_calls_dontfork) \
    X(zm_uring_calls_enter2) X(zm_uring_calls_sync_msg)
/* clang-format on */

#ifndef ZM_SIMULATED

#define ZM_THREAD_LOCAL _Thread_local
#define ZM_WORLD_TOOK(lock) ((void) 0)
#define ZM_WORLD_GIVES(lock) ((void) 0)

#else

/* A thread of the simulation is no thread of the system's: what each has for itself lies in a
 * section that is exchanged whenever another one runs. */
#define ZM_THREAD_LOCAL __attribute__((section("zm_thread_local")))
#define ZM_WORLD_TOOK(lock) zm_world_took(lock)
#define ZM_WORLD_GIVES(lock) zm_world_gives(lock)

void zm_world_took(const void *lock);
void zm_world_gives(const void *lock);
uintptr_t zm_world_thread_mark(void);
void zm_world_relax(void);

#endif

#endif
