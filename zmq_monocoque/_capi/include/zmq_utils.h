/* A header of older libzmqs; what it declared is in zmq.h. */
#include "zmq.h"
