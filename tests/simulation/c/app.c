/* Calls of the engine as the extension makes them, and messages that say whose they are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "base/errors.h"

/* In each part. What follows it is told by it, too. */
typedef struct head {
    uint32_t magic, number, size, check, answers;
    uint16_t sender, to;
    uint8_t part, parts;
} head;

enum { MAGIC = 0x4d49535a };

end ends[ENDS_MAX];
int end_total;
const zm_api *api;

void app_begin(const char *doing, end *e)
{
    sim_current->doing = doing;
    sim_current->doing_since = sim_clock;
    sim_current->doing_object = e;
}

void app_end(void)
{
    sim_current->doing = NULL;
}

static uint32_t check_of(const head *h)
{
    uint32_t x = h->number * 2654435761u ^ (uint32_t) h->sender << 16 ^ h->size * 40503u
                 ^ (uint32_t) h->part << 8 ^ h->parts ^ h->answers * 2246822519u ^ h->to * 97u;
    return x ^ x >> 13;
}

static uint8_t filler(const head *h, uint32_t at)
{
    return (uint8_t) (h->check + at * 31);
}

/* What the kernel is given, of ours: who sent it must be one who may, and in the order in which a
 * thread sent it. */
static void look_at_the_wire(int fd, const void *data, size_t size)
{
    const uint8_t *at = data, *over = at + size;
    (void) fd;
    while ((at = memchr(at, MAGIC & 0xff, (size_t) (over - at)))) {
        head h;
        if ((size_t) (over - at) < sizeof h)
            break;
        memcpy(&h, at++, sizeof h);
        if (h.magic != MAGIC || h.check != check_of(&h) || h.sender >= end_total)
            continue;
        const end *from = &ends[h.sender];
        if (from->of->mechanism == M_CURVE || from->intrusion)
            sim_broken("without the key no byte of payload", "socket %d: message %u on the wire",
                       h.sender, h.number);
        if (h.part == 0)
            law_departs(h.sender, h.number);
        at += (size_t) (over - at) < h.size ? (size_t) (over - at) : h.size;
    }
}

void app_begin_watch(void)
{
    sim_on_send = look_at_the_wire;
}

/* Arms the next allocation that fails. */
void app_memory(void)
{
    if (!PLAN->no_memory)
        return;
    int64_t left = zm_alloc_fail_after(-1);
    if (left < 0)
        left = sim_below(2 * PLAN->no_memory);
    zm_alloc_fail_after(left);
}

static int send_part(end *e, const void *data, size_t size, int flags, int64_t deadline)
{
    int rc;
    for (;;) {
        rc = api->send(e->socket, e->generation, data, size, flags & (ZM_SNDMORE | ZM_PATIENT));
        if (rc == ZM_LATER) {
            api->make_way(e->socket, e->generation);
            continue;
        }
        if (rc != -EAGAIN || (flags & ZM_DONTWAIT) || deadline == 0)
            break;
        rc = api->wait(e->socket, e->generation, ZM_POLLOUT, deadline);
        if (rc == -EINTR)
            continue;
        if (rc < 0)
            break;
    }
    if (rc == ZM_SEND_FLUSH)
        api->flush(e->socket, e->generation);
    return rc < 0 ? rc : 0;
}

/* Parts behind the first do not wait: the message is on its way. */
int app_send(end *e, const arrival *to, int flags, uint32_t *out_number)
{
    static const uint32_t sizes[] = {0, 1, 10, 100, 1000, 5000, 20000, 100000};
    static uint32_t sizes_most, parts_most; /* of a run */
    if (!sizes_most) {
        sizes_most = sim_less(sizeof sizes / sizeof sizes[0], 1, "sizes");
        parts_most = sim_less(PARTS_MAX, 1, "parts");
    }
    bool one = e->sharers > 1 || e->of->conflates || e->of->bursts;
    uint32_t drawn_parts = one || sim_below(3) ? 1 : 1 + sim_below(PARTS_MAX);
    uint32_t size = e->of->bursts ? (e->large ? e->large : sim_below(3))
                    : e->of->slow ? 5 + sim_below(3)
                                  : sim_below(e->group || sim_below(4) ? 5 : 8);
    int parts = (int) (drawn_parts < parts_most ? drawn_parts : parts_most);
    uint32_t body = sizes[size < sizes_most ? size : sizes_most - 1];
    app_memory();
    uint32_t number = law_offer(e, parts, body);
    *out_number = number;
    int64_t deadline = flags & ZM_DONTWAIT ? 0 : api->deadline(e->socket, e->generation,
                                                                ZM_POLLOUT | ZM_PATIENT);
    app_begin("send", e);
    int rc = 0, done = 0;
    for (int i = 0; to && i < to->routes && rc == 0; i++, done++)
        rc = send_part(e, to->route[i], to->route_size[i],
                       flags | ZM_SNDMORE | (done ? ZM_PATIENT : 0), deadline);
    if (rc == 0 && e->of->publishes && !e->of->conflates) { /* what subscribers ask for */
        char topic = (char) ('A' + number % TOPICS);
        rc = send_part(e, &topic, 1, flags | ZM_SNDMORE, deadline);
        done++;
    }
    uint8_t *buffer = malloc(sizeof(head) + body + 1);
    for (int i = 0; i < parts && rc == 0; i++, done++) {
        head h = {.magic = MAGIC, .number = number, .size = i ? sim_below(50) : body,
                  .sender = (uint16_t) e->id, .part = (uint8_t) i, .parts = (uint8_t) parts,
                  .to = NOBODY};
        if (to && !to->foreign) {
            h.to = (uint16_t) to->sender;
            h.answers = to->number;
        }
        h.check = check_of(&h);
        memcpy(buffer, &h, sizeof h);
        buffer = realloc(buffer, sizeof h + h.size + 1);
        for (uint32_t n = 0; n < h.size; n++)
            buffer[sizeof h + n] = filler(&h, n);
        rc = send_part(e, buffer, sizeof h + h.size,
                       flags | (i + 1 < parts ? ZM_SNDMORE : 0) | (done ? ZM_PATIENT : 0),
                       deadline);
    }
    free(buffer);
    app_end();
    law_taken(e, number, rc);
    law_step(e);
    return rc;
}

static int begin_part(end *e, int flags, int64_t deadline, zm_part *part)
{
    for (;;) {
        int rc = api->recv_begin(e->socket, e->generation, flags & ZM_PATIENT, part);
        if (rc == ZM_LATER) {
            api->make_way(e->socket, e->generation);
            continue;
        }
        if (rc != -EAGAIN || (flags & ZM_DONTWAIT) || deadline == 0)
            return rc;
        rc = api->wait(e->socket, e->generation, ZM_POLLIN, deadline);
        if (rc == -EINTR)
            continue;
        if (rc < 0)
            return rc;
    }
}

/* Whoever connects keeps its pipe over a reconnect (S-20), and each connection that is accepted is
 * a pipe of its own. */
static uint16_t pipe_of(end *e, const zm_part *part)
{
    zm_metadata *of = e->binder || e->immediate ? part->metadata : NULL;
    for (uint16_t i = 0; i < e->pipe_count; i++)
        if (e->pipes[i] == of)
            return i + 1;
    e->pipes = realloc(e->pipes, (e->pipe_count + 1) * sizeof(zm_metadata *));
    e->pipes[e->pipe_count] = of ? api->metadata_ref(of) : NULL;
    return ++e->pipe_count;
}

/* One part of a message that is being read. */
static void take_part(end *e, const zm_part *part, arrival *a, int *next)
{
    head h;
    bool ours = part->size >= sizeof h && (memcpy(&h, part->data, sizeof h), h.magic == MAGIC);
    if (!ours) {
        if (*next)
            sim_broken("parts never mix", "socket %d: a part that is not ours in message %u of %d",
                       e->id, a->number, a->sender);
        if (a->routes < 4 && part->size < 256) {
            memcpy(a->route[a->routes], part->data, part->size);
            a->route_size[a->routes++] = (uint8_t) part->size;
        }
        return;
    }
    if (h.check != check_of(&h) || part->size != sizeof h + h.size || h.sender >= end_total)
        sim_broken("what arrives is what was sent", "socket %d: part %u of message %u of %d: %zu "
                   "bytes, %u were sent", e->id, h.part, h.number, h.sender, part->size,
                   (unsigned) (sizeof h + h.size));
    for (uint32_t n = 0; n < h.size; n++)
        if (part->data[sizeof h + n] != filler(&h, n))
            sim_broken("what arrives is what was sent", "socket %d: byte %u of message %u of %d",
                       e->id, n, h.number, h.sender);
    if (h.part != *next || (*next && (h.number != a->number || h.sender != a->sender))
        || (h.part + 1 < h.parts) != part->more)
        sim_broken("parts never mix", "socket %d: part %u/%u of message %u of %d, after %d parts "
                   "of %u of %d%s", e->id, h.part, h.parts, h.number, h.sender, *next, a->number,
                   a->sender, part->more ? ", more" : "");
    a->sender = h.sender;
    a->number = h.number;
    a->to = h.to;
    a->answers = h.answers;
    a->pipe = pipe_of(e, part);
    (*next)++;
}

int app_recv(end *e, int flags, arrival *out)
{
    memset(out, 0, sizeof *out);
    int64_t deadline = flags & ZM_DONTWAIT ? 0 : api->deadline(e->socket, e->generation,
                                                                ZM_POLLIN | ZM_PATIENT);
    zm_part part;
    int next = 0;
    app_begin("recv", e);
    int rc = begin_part(e, flags, deadline, &part);
    if (rc == -EAGAIN && deadline > 0 && sim_clock < deadline)
        sim_broken("a call ends at its time, and not before",
                   "socket %d: recv gave up %.6f s early", e->id,
                   (double) (deadline - sim_clock) / 1e9);
    if (rc == -EAGAIN && deadline > 0 && sim_clock > deadline + SIM_S
        && stopped_at[e->host] < deadline)
        sim_broken("a call ends at its time, and not before", "socket %d: recv was %.6f s late",
                   e->id, (double) (sim_clock - deadline) / 1e9);
    while (rc == 0) {
        take_part(e, &part, out, &next);
        bool more = part.more;
        if (more && sim_below(2)) {
            if (api->recv_next(e->socket, &part))
                continue;
            rc = -EPROTO;
        } else {
            api->recv_end(e->socket, &part);
            if (!more)
                break;
            rc = begin_part(e, ZM_PATIENT | ZM_DONTWAIT, 0, &part);
        }
        if (rc < 0 && rc != -ETERM && rc != -ENOTSOCK)
            sim_broken("parts never mix", "socket %d: the rest of a message is not there (%d)",
                       e->id, rc);
    }
    app_end();
    if (rc < 0 && rc != -EAGAIN)
        sim_say("socket %d: recv: %d", e->id, rc);
    if (rc == 0) {
        out->foreign = next == 0;
        if (out->foreign)
            sim_say("socket %d: recv of nothing that is ours", e->id);
        if (next)
            law_arrived(e, out);
    }
    law_step(e);
    return rc;
}

/* --- STREAM's messages: an id, and bytes ----------------------------------------------------- */

int app_send_bytes(end *e, const stream_name *to, const void *data, size_t size, int flags)
{
    int64_t deadline = flags & ZM_DONTWAIT ? 0 : api->deadline(e->socket, e->generation,
                                                                ZM_POLLOUT | ZM_PATIENT);
    app_memory();
    app_begin("send", e);
    int rc = send_part(e, to->bytes, to->size, flags | ZM_SNDMORE, deadline);
    if (rc == 0)
        rc = send_part(e, data, size, flags | ZM_PATIENT, deadline);
    app_end();
    law_step(e);
    return rc;
}

int app_recv_bytes(end *e, int flags, stream_name *from, uint8_t *out, size_t *out_size)
{
    int64_t deadline = flags & ZM_DONTWAIT ? 0 : api->deadline(e->socket, e->generation,
                                                                ZM_POLLIN | ZM_PATIENT);
    zm_part part;
    app_begin("recv", e);
    int rc = begin_part(e, flags, deadline, &part);
    if (rc == 0) {
        bool named = part.more && part.size <= sizeof from->bytes;
        if (named) {
            from->size = part.size;
            memcpy(from->bytes, part.data, part.size);
        }
        api->recv_end(e->socket, &part);
        rc = named ? begin_part(e, ZM_PATIENT | ZM_DONTWAIT, 0, &part) : -EPROTO;
        bool whole = rc == 0 && !part.more && part.size <= STREAM_BYTES_MAX;
        if (!whole && rc != -ETERM && rc != -ENOTSOCK)
            sim_broken("parts never mix", "socket %d: no id, or no bytes behind it (%d)", e->id,
                       rc);
        if (rc == 0) {
            *out_size = part.size;
            memcpy(out, part.data, part.size);
            api->recv_end(e->socket, &part);
        }
    }
    app_end();
    law_step(e);
    return rc;
}

int app_poll(zm_pollitem *items, int count, int64_t timeout)
{
    int64_t deadline = timeout < 0 ? -1 : sim_clock + timeout;
    int rc = api->poll_glance(items, count);
    app_begin("poll", NULL);
    if (rc == 0 || rc == ZM_LATER)
        do
            rc = api->poll(items, count, deadline);
        while (rc == -EINTR);
    app_end();
    if (rc == 0 && deadline >= 0 && sim_clock < deadline)
        sim_broken("a call ends at its time, and not before", "poll gave up %.6f s early",
                   (double) (deadline - sim_clock) / 1e9);
    return rc;
}
