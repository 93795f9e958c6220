/* Waits of the thread that runs Python's signal handlers, and how it hears of signals that
 * interrupt no system call (see context/signals.c). Other threads wait as they are.
 *
 * To have Python tell of signals takes a microsecond, so a wait begins without, and only looks for
 * handlers after a moment. One that is called again after that lasts: from there on it is told, and
 * sleeps as long as nothing happens. */
#include "binding.h"

#include <errno.h>

#define FIRST_LOOK_NS 20000000LL
#define LASTS_NS 10000000LL
/* For a program that has Python write elsewhere: an event loop, which seldom waits in here. */
#define LOOK_NS 500000000LL
#define TOLD (-1LL)

static PyObject *set_wakeup_fd;
static int installed = -1; /* what Python was told to write to */
static bool again;         /* the wait before this one was interrupted, and not a short one */

int ext_signals_init(void)
{
    PyObject *module = PyImport_ImportModule("_signal");
    if (!module)
        return -1;
    set_wakeup_fd = PyObject_GetAttrString(module, "set_wakeup_fd");
    Py_DECREF(module);
    return set_wakeup_fd ? 0 : -1;
}

/* Answers the descriptor before, -1: there was none; < -1: this thread may not, or `fd` is bad. */
static int swap(int fd)
{
    ext_exception kept = ext_exception_keep();
    PyObject *before = PyObject_CallFunction(set_wakeup_fd, "i", fd);
    int number = before ? (int) PyLong_AsLong(before) : -2;
    Py_XDECREF(before);
    if (!before)
        PyErr_Clear();
    ext_exception_restore(kept);
    return number;
}

/* Takes the descriptor back, unless it is another by now. */
static void uninstall(void)
{
    int now = swap(-1);
    if (now >= 0 && now != installed)
        swap(now);
    installed = -1;
}

static bool install(int pipe)
{
    if (pipe < 0)
        return false;
    int before = swap(pipe);
    if (before == -1 || before == pipe) {
        installed = pipe;
        return true;
    }
    if (before >= 0 && swap(before) < 0)
        swap(-1); /* it was closed */
    return false;
}

int ext_signals_begin(const zm_api *api, ext_signals *out, bool costly)
{
    *out = (ext_signals){.mine = api->signals_are_mine()};
    if (!out->mine)
        return 0;
    out->began = api->now_ns();
    if (!again && !costly) {
        out->before = api->signals_heed(FIRST_LOOK_NS);
        return 0;
    }
    bool inside = installed >= 0; /* a handler that interrupted another wait */
    bool told = inside || install(api->signals_pipe());
    out->installed = told && !inside;
    out->before = api->signals_heed(told ? TOLD : LOOK_NS);
    /* From here on Python writes; what came before is found here. */
    if (PyErr_CheckSignals() == 0)
        return 0;
    ext_signals_end(api, out, true);
    return -1;
}

void ext_signals_end(const zm_api *api, const ext_signals *state, bool interrupted)
{
    if (!state->mine)
        return;
    again = interrupted && api->now_ns() - state->began >= LASTS_NS;
    api->signals_heed(state->before);
    if (state->installed && installed >= 0)
        uninstall();
}

PyObject *ext_interruptible(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void) module;
    if (nargs < 2) {
        PyErr_SetString(PyExc_TypeError, "interruptible() takes an address and a callable");
        return NULL;
    }
    const zm_api *api = ext_api_at(args[0]);
    ext_signals signals;
    if (!api || ext_signals_begin(api, &signals, false) < 0)
        return NULL;
    PyObject *answer = PyObject_Vectorcall(args[1], args + 2, (size_t) (nargs - 2), NULL);
    long number = answer && PyLong_Check(answer) ? PyLong_AsLong(answer) : 0;
    ext_signals_end(api, &signals, number == -EINTR);
    return answer;
}

/* The pipe is the parent's, and its number free for others. */
PyObject *ext_signals_after_fork(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    if (installed >= 0)
        uninstall();
    Py_RETURN_NONE;
}
