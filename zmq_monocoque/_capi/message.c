/* zmq_msg_t: small bodies inside it, others in a block that copies share. */
#include "capi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARE_BYTES = 8192, /* smaller bodies are copied when they are sent, as in Python */
    REFILL_BYTES = 4096 /* a larger body is rather taken where it lies */
};

static void start_empty(capi_message *m)
{
    m->metadata = NULL;
    m->group = NULL;
    m->routing_id = 0;
    m->kind = CAPI_INLINE;
    m->flags = 0;
    m->inline_size = 0;
    m->seal = CAPI_SEAL;
}

static void drop_body(const capi_message *m)
{
    if (m->kind == CAPI_BLOCK && m->block)
        zm_block_unref(m->block);
}

void capi_message_empty(capi_message *m)
{
    drop_body(m);
    if (m->metadata)
        zm_api_get()->metadata_unref(m->metadata);
    free(m->group);
    start_empty(m);
}

static void become_block(capi_message *m, zm_block *taken, const void *data, size_t size)
{
    m->kind = CAPI_BLOCK;
    m->block = taken;
    m->data = (uint8_t *) (uintptr_t) data;
    m->size = size;
}

/* Its block, if it is of just that many bytes and nobody shares it; NULL: there is none. */
static zm_block *own_block(const capi_message *m, size_t size)
{
    zm_block *block = m->kind == CAPI_BLOCK && size <= REFILL_BYTES ? m->block : NULL;
    bool fits = block && !block->release && m->data == block->data && block->size == size
                && atomic_load_explicit(&block->refs, memory_order_acquire) == 1;
    return fits ? block : NULL;
}

static int receive_body(capi_message *m, zm_part *part)
{
    zm_block *own = own_block(m, part->size);
    if (own) {
        memcpy(own->data, part->data, part->size);
        return 0;
    }
    drop_body(m);
    m->kind = CAPI_INLINE;
    m->inline_size = 0;
    if (part->size <= CAPI_INLINE_BYTES) {
        if (part->size)
            memcpy(m->bytes, part->data, part->size);
        m->inline_size = (uint8_t) part->size;
        return 0;
    }
    zm_block *block = zm_api_get()->part_take(part);
    if (!block)
        return -ENOMEM;
    become_block(m, block, part->data, part->size);
    return 0;
}

void capi_message_prepare(capi_message *m)
{
    if (m->kind == CAPI_BLOCK && m->block && m->block->release)
        capi_message_empty(m);
}

int capi_message_receive(capi_message *m, zm_part *part)
{
    const zm_api *api = zm_api_get();
    int rc = receive_body(m, part);
    if (rc < 0) {
        capi_message_empty(m);
        return rc;
    }
    if (m->metadata != part->metadata) {
        if (m->metadata)
            api->metadata_unref(m->metadata);
        m->metadata = part->metadata ? api->metadata_ref(part->metadata) : NULL;
    }
    free(m->group);
    m->group = NULL;
    m->routing_id = 0;
    m->flags = part->more ? CAPI_MESSAGE_MORE : 0;
    return 0;
}

/* --- bodies by reference --------------------------------------------------------------------- */

/* What zmq_msg_init_data() was told. */
typedef struct foreign {
    zmq_free_fn *free;
    void *data, *hint;
} foreign;

static void release_foreign(zm_block *taken)
{
    foreign f = *(foreign *) taken->hint;
    free(taken->hint);
    zm_api_get()->block_foreign_free(taken);
    f.free(f.data, f.hint);
}

static void release_inner(zm_block *taken)
{
    zm_block *inner = taken->hint;
    zm_api_get()->block_foreign_free(taken);
    if (inner)
        zm_block_unref(inner);
}

zm_block *capi_message_share(capi_message *m)
{
    /* Foreign memory is never copied: its program counts on hearing when it is free. */
    if (m->kind != CAPI_BLOCK || (m->size < SHARE_BYTES && !(m->flags & CAPI_MESSAGE_FOREIGN)))
        return NULL;
    if (m->block && m->data == m->block->data)
        return zm_block_ref(m->block);
    /* Inside its block, or without one: a block of just those bytes, which holds the other. */
    zm_block *inner = m->block ? zm_block_ref(m->block) : NULL;
    zm_block *block = zm_api_get()->block_foreign(m->data, m->size, release_inner, inner);
    if (!block && inner)
        zm_block_unref(inner);
    return block;
}

/* --- zmq_msg_... ----------------------------------------------------------------------------- */

CAPI int zmq_msg_init(zmq_msg_t *msg)
{
    if (!msg)
        return capi_refuse(EFAULT);
    start_empty((capi_message *) msg);
    return 0;
}

CAPI int zmq_msg_init_size(zmq_msg_t *msg, size_t size)
{
    capi_message *m = (capi_message *) msg;
    if (!m)
        return capi_refuse(EFAULT);
    zm_block *block = size > CAPI_INLINE_BYTES ? zm_block_new(size) : NULL;
    if (size > CAPI_INLINE_BYTES && !block)
        return capi_refuse(ENOMEM);
    start_empty(m);
    if (block)
        become_block(m, block, block->data, size);
    else
        m->inline_size = (uint8_t) size;
    return 0;
}

CAPI int zmq_msg_init_buffer(zmq_msg_t *msg, const void *buf, size_t size)
{
    if (!buf && size)
        return capi_refuse(EFAULT);
    int rc = zmq_msg_init_size(msg, size);
    if (rc == 0 && size)
        memcpy(zmq_msg_data(msg), buf, size);
    return rc;
}

CAPI int zmq_msg_init_data(zmq_msg_t *msg, void *data, size_t size, zmq_free_fn *ffn, void *hint)
{
    capi_message *m = (capi_message *) msg;
    if (!m)
        return capi_refuse(EFAULT);
    zm_block *block = NULL;
    if (ffn) {
        foreign *f = malloc(sizeof *f);
        if (f) {
            *f = (foreign){.free = ffn, .data = data, .hint = hint};
            block = zm_api_get()->block_foreign(data, size, release_foreign, f);
        }
        if (!block) {
            free(f);
            return capi_refuse(ENOMEM);
        }
    }
    start_empty(m);
    become_block(m, block, data, size);
    m->flags = ffn ? CAPI_MESSAGE_FOREIGN : 0;
    return 0;
}

CAPI int zmq_msg_close(zmq_msg_t *msg)
{
    capi_message *m = capi_message_of(msg);
    if (!m)
        return capi_refuse(EFAULT);
    uint8_t more = m->flags & CAPI_MESSAGE_MORE;
    capi_message_empty(m);
    m->kind = CAPI_CLOSED;
    m->flags = more; /* there are programs that ask for it afterwards */
    return 0;
}

CAPI int zmq_msg_move(zmq_msg_t *dest, zmq_msg_t *src)
{
    capi_message *to = capi_message_of(dest), *from = capi_message_of(src);
    if (!to || !from)
        return capi_refuse(EFAULT);
    if (to == from)
        return 0;
    capi_message_empty(to);
    *to = *from;
    start_empty(from);
    return 0;
}

CAPI int zmq_msg_copy(zmq_msg_t *dest, zmq_msg_t *src)
{
    capi_message *to = capi_message_of(dest), *from = capi_message_of(src);
    if (!to || !from)
        return capi_refuse(EFAULT);
    if (to == from)
        return 0;
    char *group = from->group ? strdup(from->group) : NULL;
    if (from->group && !group)
        return capi_refuse(ENOMEM);
    capi_message_empty(to);
    *to = *from;
    to->group = group;
    if (from->kind == CAPI_BLOCK) {
        from->flags |= CAPI_MESSAGE_SHARED;
        to->flags = from->flags;
        if (from->block)
            zm_block_ref(from->block);
    }
    if (to->metadata)
        zm_api_get()->metadata_ref(to->metadata);
    return 0;
}

CAPI void *zmq_msg_data(zmq_msg_t *msg)
{
    capi_message *m = capi_message_of(msg);
    if (m)
        return (void *) (uintptr_t) capi_message_data(m);
    errno = EFAULT;
    return NULL;
}

CAPI size_t zmq_msg_size(const zmq_msg_t *msg)
{
    const capi_message *m = capi_message_of(msg);
    if (m)
        return capi_message_size(m);
    errno = EFAULT;
    return 0;
}

CAPI int zmq_msg_more(const zmq_msg_t *msg)
{
    return zmq_msg_get(msg, ZMQ_MORE);
}

CAPI int zmq_msg_get(const zmq_msg_t *msg, int property)
{
    const capi_message *any = (const capi_message *) msg, *m = capi_message_of(msg);
    if (!any)
        return capi_refuse(EFAULT);
    const char *fd;
    switch (property) {
    case ZMQ_MORE:
        return any->seal == CAPI_SEAL && any->flags & CAPI_MESSAGE_MORE ? 1 : 0;
    case ZMQ_SHARED:
        return m && m->kind == CAPI_BLOCK && (!m->block || m->flags & CAPI_MESSAGE_SHARED) ? 1 : 0;
    case ZMQ_SRCFD:
        fd = m && m->metadata ? zm_api_get()->metadata_get(m->metadata, "__fd") : NULL;
        return fd ? atoi(fd) : capi_refuse(EINVAL);
    default:
        return capi_refuse(EINVAL);
    }
}

CAPI int zmq_msg_set(zmq_msg_t *msg, int property, int value)
{
    (void) msg, (void) property, (void) value;
    return capi_refuse(EINVAL); /* there is none to be set */
}

CAPI const char *zmq_msg_gets(const zmq_msg_t *msg, const char *property)
{
    const capi_message *m = capi_message_of(msg);
    const char *value = NULL;
    if (m && property && m->metadata)
        value = zm_api_get()->metadata_get(m->metadata, property);
    if (!value)
        errno = msg && property ? EINVAL : EFAULT;
    return value;
}

/* --- drafts ---------------------------------------------------------------------------------- */

CAPI int zmq_msg_set_routing_id(zmq_msg_t *msg, uint32_t routing_id)
{
    capi_message *m = capi_message_of(msg);
    if (!m)
        return capi_refuse(EFAULT);
    if (!routing_id)
        return capi_refuse(EINVAL);
    m->routing_id = routing_id;
    return 0;
}

CAPI uint32_t zmq_msg_routing_id(zmq_msg_t *msg)
{
    const capi_message *m = capi_message_of(msg);
    if (m)
        return m->routing_id;
    errno = EFAULT;
    return 0;
}

CAPI int zmq_msg_set_group(zmq_msg_t *msg, const char *group)
{
    capi_message *m = capi_message_of(msg);
    if (!m || !group)
        return capi_refuse(EFAULT);
    if (strlen(group) > ZMQ_GROUP_MAX_LENGTH)
        return capi_refuse(EINVAL);
    char *copy = strdup(group);
    if (!copy)
        return capi_refuse(ENOMEM);
    free(m->group);
    m->group = copy;
    return 0;
}

CAPI const char *zmq_msg_group(zmq_msg_t *msg)
{
    const capi_message *m = capi_message_of(msg);
    if (m)
        return m->group ? m->group : "";
    errno = EFAULT;
    return NULL;
}
