/* ZMQ's own error numbers, beside the system's, and their texts. */
#ifndef ZM_BASE_ERRORS_H
#define ZM_BASE_ERRORS_H

#include <errno.h>

#define ZM_ERROR_BASE 156384712
#define EFSM (ZM_ERROR_BASE + 51)
#define ENOCOMPATPROTO (ZM_ERROR_BASE + 52)
#define ETERM (ZM_ERROR_BASE + 53)
#define EMTHREAD (ZM_ERROR_BASE + 54)

/* Static, or in a buffer of the calling thread. */
const char *zm_error_text(int error);

#endif
