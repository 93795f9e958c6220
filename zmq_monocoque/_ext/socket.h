/* SocketBase's insides, shared by its calls. */
#ifndef ZM_EXT_SOCKET_H
#define ZM_EXT_SOCKET_H

#include "binding.h"

/* All but the binding is read and written in the object's critical section, which its methods have;
 * Python code that runs meanwhile, and other threads while the GIL is given up, may change it. */
typedef struct ext_socket {
    PyObject_HEAD
    ext_binding *binding;
    /* Never NULL. When the socket is closed the generation alone becomes stale: a call that is in
     * the middle of it, while Python code closes it, finds it gone and nothing else. */
    zm_socket *socket;
    uint32_t generation;
    int64_t handle;
    pid_t pid;   /* of the process that attached it: a fork leaves the other one's dead */
    bool closed; /* as far as this object knows; true until something is attached */
    Py_ssize_t copy_threshold;
    PyObject *weakrefs;
} ext_socket;

/* On the way out of a call that has failed: that the socket is gone would be the first reason, and
 * replaces the exception. Always NULL. */
PyObject *ext_failed(ext_socket *self);
/* Gives up the GIL until a call that answered ZM_LATER may be tried again. */
void ext_make_way(ext_socket *self);
/* api->deadline(). */
int64_t ext_deadline(ext_socket *self, int direction);
/* Raises what a negative answer of the engine means. Always -1. */
int ext_raise_status(ext_socket *self, int status);
/* The same for those who return an object. Always NULL. */
PyObject *ext_raised(ext_socket *self, int status);
/* Adds to the exception that is set what a method of the socket's class (Python code) knows of its
 * reasons, from one or two (else NULL) arguments. */
void ext_explain(ext_socket *self, PyObject *method, PyObject *first, PyObject *second);
/* As ext_raise_status(), for a message that was to be sent or received (`event`); but when `flags`
 * have EXT_QUIET, and the answer is that it would block, nothing is raised and -2 returned. */
int ext_refuse(ext_socket *self, int event, int status, int flags);
/* What a call returns after ext_refuse() gave `refused`: NULL, or EXT_NOTHING. */
static inline PyObject *ext_refused(int refused)
{
    return refused == -2 ? Py_NewRef(EXT_NOTHING) : NULL;
}
/* Waits without the GIL until the call may be tried again. 0, or -1 with an exception; when it is
 * the engine's answer that raised it (the time is up, the socket gone), that is in out_status, else
 * 0 is. */
int ext_wait_status(ext_socket *self, int event, int64_t deadline, int *out_status);
/* The same without the reason. */
int ext_wait_ready(ext_socket *self, int event, int64_t deadline);
/* Is the method `name` of this socket's class the one given, not a subclass's? 1, 0, or -1 with an
 * exception. */
int ext_is_own(ext_socket *self, PyObject *name, PyObject *own);

/* What another object needs of it. */
static inline int64_t ext_socket_handle(ext_socket *self)
{
    int64_t handle;
    Py_BEGIN_CRITICAL_SECTION(self);
    handle = self->handle;
    Py_END_CRITICAL_SECTION();
    return handle;
}

/* Copies the class's threshold, if none was set. 0, or -1 with an exception. */
int ext_threshold_resolve(ext_socket *self);
/* Makes the object stand for the engine's socket `handle`. */
void ext_socket_attach(ext_socket *self, int64_t handle);

/* Methods. */
PyObject *ext_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_send_multipart(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames);
PyObject *ext_recv(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_recv_multipart(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames);
PyObject *ext_send_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_recv_many(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_recv_into(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_close(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_set(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_bind(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_connect(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_unbind(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_disconnect(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_monitor(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_open(PyObject *op, PyObject *const *args, Py_ssize_t nargs);
PyObject *ext_get_closed(PyObject *op, void *unused);

#endif
