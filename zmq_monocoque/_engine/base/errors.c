#define _GNU_SOURCE
#include "errors.h"

#include <string.h>

#include "world.h"

const char *zm_error_text(int error)
{
    switch (error) {
    case EFSM:
        return "Operation cannot be accomplished in current state";
    case ENOCOMPATPROTO:
        return "The protocol is not compatible with the socket type";
    case ETERM:
        return "Context was terminated";
    case EMTHREAD:
        return "No thread available";
    case EHOSTUNREACH:
        return "Host unreachable";
    default: {
        static ZM_THREAD_LOCAL char text[128];
#ifdef __GLIBC__
        return strerror_r(error, text, sizeof text);
#else
        return strerror_r(error, text, sizeof text) == 0 ? text : "Unknown error";
#endif
    }
    }
}
