/* Is a driver all that it promises, on this kernel? */
#ifndef ZM_DRIVER_PROBE_H
#define ZM_DRIVER_PROBE_H

#include "driver.h"

/* Takes an unused driver. NULL: it is; else what it does not do, for a person. */
const char *zm_driver_probe(zm_driver *taken);

#endif
