/* What belongs to no socket: errno, version, keys, counters, stopwatches, threads. */
#include "capi.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/z85.h"

CAPI int zmq_errno(void)
{
    return errno;
}

CAPI const char *zmq_strerror(int errnum)
{
    return zm_error_text(errnum);
}

CAPI void zmq_version(int *major, int *minor, int *patch)
{
    if (major)
        *major = ZMQ_VERSION_MAJOR;
    if (minor)
        *minor = ZMQ_VERSION_MINOR;
    if (patch)
        *patch = ZMQ_VERSION_PATCH;
}

CAPI int zmq_has(const char *capability)
{
    capi_start();
    return capability ? zm_has(capability) : 0;
}

/* --- keys ------------------------------------------------------------------------------------ */

CAPI char *zmq_z85_encode(char *dest, const uint8_t *data, size_t size)
{
    if (dest && (data || !size) && zm_z85_encode(dest, data, size) == 0)
        return dest;
    errno = EINVAL;
    return NULL;
}

CAPI uint8_t *zmq_z85_decode(uint8_t *dest, const char *string)
{
    size_t length = string ? strlen(string) : 0;
    if (dest && string && zm_z85_decode(dest, string, length) == 0)
        return dest;
    errno = EINVAL;
    return NULL;
}

CAPI int zmq_curve_keypair(char *z85_public_key, char *z85_secret_key)
{
    capi_start();
    if (!z85_public_key || !z85_secret_key)
        return capi_refuse(EINVAL);
    return capi_answer(zm_curve_keypair(z85_public_key, z85_secret_key));
}

CAPI int zmq_curve_public(char *z85_public_key, const char *z85_secret_key)
{
    capi_start();
    if (!z85_public_key || !z85_secret_key)
        return capi_refuse(EINVAL);
    return capi_answer(zm_curve_public(z85_public_key, z85_secret_key));
}

/* --- counters -------------------------------------------------------------------------------- */

CAPI void *zmq_atomic_counter_new(void)
{
    return capi_cell_new(CAPI_COUNTER);
}

CAPI void zmq_atomic_counter_set(void *handle, int value)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_COUNTER);
    if (cell)
        atomic_store(&cell->value, value);
    else
        errno = EFAULT;
}

CAPI int zmq_atomic_counter_inc(void *handle)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_COUNTER);
    return cell ? (int) atomic_fetch_add(&cell->value, 1) : capi_refuse(EFAULT);
}

CAPI int zmq_atomic_counter_dec(void *handle)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_COUNTER);
    if (!cell)
        return capi_refuse(EFAULT);
    return atomic_fetch_sub(&cell->value, 1) > 1; /* 0: it is down */
}

CAPI int zmq_atomic_counter_value(void *handle)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_COUNTER);
    return cell ? (int) atomic_load(&cell->value) : capi_refuse(EFAULT);
}

CAPI void zmq_atomic_counter_destroy(void **counter_p)
{
    capi_cell *cell = counter_p ? capi_cell_of(*counter_p, CAPI_COUNTER) : NULL;
    if (!cell || !capi_cell_end(cell, CAPI_COUNTER)) {
        errno = EFAULT;
        return;
    }
    capi_cell_free(cell);
    *counter_p = NULL;
}

/* --- stopwatches, threads -------------------------------------------------------------------- */

CAPI void *zmq_stopwatch_start(void)
{
    capi_cell *cell = capi_cell_new(CAPI_STOPWATCH);
    if (cell)
        atomic_store(&cell->value, zm_now_ns());
    return cell;
}

CAPI unsigned long zmq_stopwatch_intermediate(void *handle)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_STOPWATCH);
    if (!cell) {
        errno = EFAULT;
        return 0;
    }
    return (unsigned long) ((zm_now_ns() - atomic_load(&cell->value)) / 1000);
}

CAPI unsigned long zmq_stopwatch_stop(void *handle)
{
    unsigned long passed = zmq_stopwatch_intermediate(handle);
    capi_cell *cell = capi_cell_of(handle, CAPI_STOPWATCH);
    if (cell && capi_cell_end(cell, CAPI_STOPWATCH))
        capi_cell_free(cell);
    return passed;
}

CAPI void zmq_sleep(int seconds)
{
    if (seconds > 0)
        sleep((unsigned) seconds);
}

typedef struct thread {
    pthread_t thread;
    zmq_thread_fn *function;
    void *argument;
} thread;

static void *run(void *argument)
{
    const thread *t = argument;
    t->function(t->argument);
    return NULL;
}

CAPI void *zmq_threadstart(zmq_thread_fn *func, void *arg)
{
    thread *t = func ? malloc(sizeof *t) : NULL;
    capi_cell *cell = t ? capi_cell_new(CAPI_THREAD) : NULL;
    if (!cell) {
        if (!func)
            errno = EFAULT;
        free(t);
        return NULL;
    }
    t->function = func;
    t->argument = arg;
    /* Signals are for the threads that the program made itself. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        atomic_store(&cell->object, (uintptr_t) t);
        return cell;
    }
    capi_cell_end(cell, CAPI_THREAD);
    capi_cell_free(cell);
    free(t);
    errno = rc;
    return NULL;
}

CAPI void zmq_threadclose(void *handle)
{
    capi_cell *cell = capi_cell_of(handle, CAPI_THREAD);
    thread *t = cell ? (thread *) atomic_load(&cell->object) : NULL;
    if (!t || !capi_cell_end(cell, CAPI_THREAD)) {
        errno = EFAULT;
        return;
    }
    pthread_join(t->thread, NULL);
    free(t);
    capi_cell_free(cell);
}
