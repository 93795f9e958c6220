/* Is the memory that a request names valid? Asked under AddressSanitizer alone. */
#include "driver_private.h"

#ifdef ZM_ASAN
void *__asan_region_is_poisoned(void *start, size_t size);
void __asan_describe_address(void *address);

static void check_region(const void *start, size_t size)
{
    void *bad = size ? __asan_region_is_poisoned((void *) (uintptr_t) start, size) : NULL;
    if (bad) {
        __asan_describe_address(bad);
        ZM_ASSERT(!"a request names memory that is not valid");
    }
}

void zm_driver_check_memory(const zm_op *op)
{
    check_region(op, sizeof *op);
    check_region(op->buffer, op->size);
    if (op->request != ZM_REQUEST_SEND)
        return;
    const struct msghdr *header = op->buffer;
    check_region(header->msg_iov, header->msg_iovlen * sizeof *header->msg_iov);
    for (size_t i = 0; i < header->msg_iovlen; i++)
        check_region(header->msg_iov[i].iov_base, header->msg_iov[i].iov_len);
}
#endif
