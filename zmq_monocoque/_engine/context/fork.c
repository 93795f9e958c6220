/* In the child of a fork() all that is the parent's is dead: its handles are stale, and nothing of
 * it is touched. */
#include <pthread.h>

#include "../base/block.h"
#include "../base/fds.h"
#include "../base/lock.h"
#include "../base/secret.h"
#include "../driver/driver.h"
#include "../socket/order.h"
#include "../socket/resolver.h"
#include "handles.h"
#include "process.h"
#include "signals.h"

/* In the child, before fork() returns. */
static void after_fork_in_child(void)
{
    zm_handles_after_fork();
    atomic_store(&zm_live_connections, 0);
    atomic_store(&zm_live_threads, 0);
    atomic_store(&zm_live_sockets, 0);
    atomic_store(&zm_live_contexts, 0);
    zm_thread_id_forget();
    zm_signals_after_fork();
    zm_order_after_fork();
    zm_block_store_after_fork();
    zm_resolver_after_fork();
    zm_secrets_after_fork();
    zm_driver_after_fork();
    zm_fd_close_all_after_fork();
}

void zm_fork_install(void)
{
    pthread_atfork(NULL, NULL, after_fork_in_child);
}
