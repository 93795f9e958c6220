#include "check.h"

#include <stdio.h>
#include <stdlib.h>

void zm_check_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "zmq_monocoque: internal error: %s (%s:%d)\n", expression, file, line);
    abort();
}
