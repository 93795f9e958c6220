/* A stand-in for the engine behind the function table: sockets that loop back to themselves, or to
 * a peer, through a queue in memory. Tests script its answers, keep what was sent from being let
 * go, and read what was called. Test-only; compiled by tests/unit/ext/conftest.py together with the
 * engine's base/{block,alloc,check,lock}.c. */
#ifndef FAKE_API_H
#define FAKE_API_H

#include "api.h"
#include "base/alloc.h"

enum { SOCKETS_MAX = 16, QUEUE_MAX = 1024, SCRIPT_MAX = 16, KEPT_MAX = 256 };

struct zm_metadata {
    int refs;
};

typedef struct item {
    zm_block *block;
    size_t size;
    int more;
} item;

/* Answers given before the real one, in order. */
typedef struct script {
    int answers[SCRIPT_MAX], count, next;
} script;

struct zm_socket {
    uint32_t generation;
    int alive;
    zm_socket *peer;
    item queue[QUEUE_MAX];
    unsigned head, tail;
    item current; /* taken by recv_begin, given back by recv_end */
    int locked, last_more;
    int hwm; /* queue length that makes a send block; the same on both sides of a pair */
    int timeout_ms;
    int with_metadata;
    int wake_fd;
    script on_send, on_recv, on_wait, on_glance, on_poll, on_brief;
    int glances, polls, brief_calls, long_calls, lock_waits, patient;
    int64_t option; /* set last, as a number and as bytes */
    size_t option_size;
    char bytes[64];
    int sends, send_blocks, flushes, waits, deadlines;
    int64_t last_deadline;
};

/* Of this library alone: what it is loaded beside may have the same names. */
#pragma GCC visibility push(hidden)
extern zm_api api;
extern zm_socket sockets[SOCKETS_MAX];
extern int any_locked, violations, last_errno;
extern int keep_sent, let_go_on_send;
extern zm_block *kept[KEPT_MAX];
extern int kept_count;
extern zm_metadata metadata;

int64_t now_ns(void);
#pragma GCC visibility pop

int64_t fake_socket(void);
void fake_close(int64_t handle);

#endif
