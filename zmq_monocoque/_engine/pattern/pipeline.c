/* PUSH and PULL: each message goes to one of many, and comes from one of many. */
#include "../socket/pattern.h"
#include "shared.h"

const zm_pattern zm_pattern_push = {
    .never_reads = true,
    .waits_to_send = true,
    .conflates = true,
    .send = zm_balance_send_only_locked,
    .recv = zm_no_recv,
    .can_send = zm_balance_can_send_locked,
    .can_recv = zm_never,
    .attached = zm_balance_attached_locked,
    .detached = zm_forget_nothing,
    .readable = zm_forget_nothing,
    .writable = zm_balance_writable_locked,
};

const zm_pattern zm_pattern_pull = {
    .conflates = true,
    .send = zm_no_send,
    .recv = zm_fair_recv_locked,
    .can_send = zm_never,
    .can_recv = zm_fair_can_recv_locked,
    .attached = zm_forget_nothing,
    .detached = zm_forget_nothing,
    .readable = zm_fair_readable,
    .writable = zm_forget_nothing,
};
