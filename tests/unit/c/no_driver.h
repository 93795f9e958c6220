/* No driver, no wait set: what a wake-up would call of them, and does not call where a socket has
 * none. Included by one file of a program. */
#ifndef ZM_TESTS_NO_DRIVER_H
#define ZM_TESTS_NO_DRIVER_H

#include "driver/driver.h"
#include "driver/waitset.h"

void zm_fd_close(int fd)
{
    (void) fd;
}

int zm_driver_fd(const zm_driver *driver)
{
    (void) driver;
    return -1;
}

void zm_driver_wake(zm_driver *driver)
{
    (void) driver;
}

int zm_waitset_open(void)
{
    return -1;
}

int zm_waitset_add(int waitset, int fd, void *owner)
{
    (void) waitset, (void) fd, (void) owner;
    return -1;
}

int zm_waitset_signal_open(int waitset, zm_ready **out_ready)
{
    (void) waitset, (void) out_ready;
    return -1;
}

void zm_waitset_signal_close(zm_ready *taken)
{
    (void) taken;
}

void zm_waitset_signal_set(int waitset, const zm_ready *ready)
{
    (void) waitset, (void) ready;
}

void zm_waitset_signal_clear(int waitset, const zm_ready *ready)
{
    (void) waitset, (void) ready;
}

#endif
