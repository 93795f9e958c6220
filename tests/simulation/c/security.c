/* Who may come in: PLAIN and CURVE with the right keys and with wrong ones, the ZAP handlers that
 * decide, and strangers that open a connection and do not speak ZMTP. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "app.h"
#include "base/crypto.h"
#include "base/errors.h"

bool security_over;

static const char domain[] = "simulated", password[] = "open sesame";

void security_draw(service *of)
{
    const zm_crypto *crypto = zm_crypto_get();
    if (of->inproc || !sim_less(sim_below(4) == 0, 0, "security%d", of->id))
        return;
    of->mechanism = sim_below(3) ? M_CURVE : M_PLAIN;
    crypto->box_keypair(of->public_key, of->secret_key);
    for (int i = 0; i < of->end_count; i++)
        crypto->box_keypair(ends[of->first_end + i].public_key, ends[of->first_end + i].secret_key);
    end *last = &ends[of->first_end + of->end_count - 1];
    if (of->end_count == 2 || !sim_less(sim_below(2), 0, "intruder%d", of->id))
        return;
    if (sim_below(3) == 0)
        last->intrusion = NO_MECHANISM;
    else if (of->mechanism == M_PLAIN)
        last->intrusion = WRONG_PASSWORD;
    else
        last->intrusion = sim_below(2) ? WRONG_SERVER_KEY : UNKNOWN_KEY;
    sim_say("socket %d: intrudes, %d", last->id, last->intrusion);
}

static int put(const end *e, int option, const void *value, size_t size, int rc)
{
    return rc < 0 ? rc : zm_socket_set(e->handle, option, value, size);
}

int security_apply(end *e)
{
    const service *of = e->of;
    const int one = 1;
    int rc = 0;
    if (of->mechanism == M_NULL || e->intrusion == NO_MECHANISM)
        return 0;
    if (e->binder) {
        rc = put(e, OPT_ZAP_DOMAIN, domain, sizeof domain - 1, rc);
        rc = put(e, OPT_ZAP_ENFORCE_DOMAIN, &one, sizeof one, rc);
    }
    if (of->mechanism == M_PLAIN && e->binder) {
        rc = put(e, OPT_PLAIN_SERVER, &one, sizeof one, rc);
    } else if (of->mechanism == M_PLAIN) {
        rc = put(e, OPT_PLAIN_USERNAME, "ali", 3, rc);
        rc = put(e, OPT_PLAIN_PASSWORD, password,
                 sizeof password - 1 - (e->intrusion == WRONG_PASSWORD), rc);
    } else if (e->binder) {
        rc = put(e, OPT_CURVE_SERVER, &one, sizeof one, rc);
        rc = put(e, OPT_CURVE_SECRETKEY, of->secret_key, sizeof of->secret_key, rc);
    } else {
        uint8_t server[32];
        memcpy(server, of->public_key, sizeof server);
        if (e->intrusion == WRONG_SERVER_KEY)
            memcpy(server, e->public_key, sizeof server);
        rc = put(e, OPT_CURVE_SERVERKEY, server, sizeof server, rc);
        rc = put(e, OPT_CURVE_PUBLICKEY, e->public_key, sizeof e->public_key, rc);
        rc = put(e, OPT_CURVE_SECRETKEY, e->secret_key, sizeof e->secret_key, rc);
    }
    return rc;
}

/* --- ZAP ------------------------------------------------------------------------------------- */

typedef struct handler {
    int64_t context;
    bool there;
} handler;

typedef struct question {
    char parts[8][64];
    int sizes[8], count;
} question;

static bool known(const question *q)
{
    if (q->count == 8 && !strcmp(q->parts[5], "PLAIN"))
        return q->sizes[7] == sizeof password - 1
               && !memcmp(q->parts[7], password, sizeof password - 1);
    if (q->count != 7 || strcmp(q->parts[5], "CURVE") || q->sizes[6] != 32)
        return false;
    for (int i = 0; i < end_total; i++)
        if (!memcmp(q->parts[6], ends[i].public_key, 32))
            return ends[i].intrusion != UNKNOWN_KEY;
    return false;
}

/* 0, or -errno. */
static int read_question(int64_t socket, question *q)
{
    int more = 1;
    memset(q, 0, sizeof *q);
    while (more) {
        char *part = q->parts[q->count];
        int rc;
        do
            rc = zm_socket_recv(socket, part, sizeof q->parts[0] - 1, 0);
        while (rc == -EINTR);
        if (rc < 0)
            return rc;
        q->sizes[q->count] = rc;
        size_t size = sizeof more;
        rc = zm_socket_get(socket, OPT_RCVMORE, &more, &size);
        if (rc < 0)
            return rc;
        q->count += q->count < 7 || !more;
    }
    return 0;
}

static int answer(int64_t socket, const question *q)
{
    const char *parts[] = {"1.0", q->parts[1], known(q) ? "200" : "400", "", "who", ""};
    int rc = 0;
    for (int i = 0; i < 6 && rc >= 0; i++)
        rc = zm_socket_send(socket, parts[i], strlen(parts[i]), i < 5 ? ZM_SNDMORE : 0);
    return rc;
}

static void *handle(void *argument)
{
    handler *own = argument;
    int64_t socket;
    int rc, wait_ms = 50;
    while ((socket = zm_socket_new(own->context, T_REP)) == -EMFILE || socket == -ENOMEM)
        sim_sleep(SIM_MS);
    if (socket < 0)
        sim_broken("the ZAP handler starts", "%lld", (long long) socket);
    zm_socket_set(socket, OPT_RCVTIMEO, &wait_ms, sizeof wait_ms);
    do
        rc = zm_socket_bind(socket, "inproc://zeromq.zap.01");
    while (rc == -ENOMEM);
    if (rc < 0)
        sim_broken("the ZAP handler starts", "bind: %d", rc);
    own->there = true;
    while (!security_over && rc != -ETERM && rc != -ENOTSOCK) {
        question q;
        rc = read_question(socket, &q);
        if (rc < 0)
            continue;
        if (sim_below(4) == 0)
            sim_sleep((int64_t) sim_below(50) * SIM_MS);
        rc = answer(socket, &q);
    }
    zm_socket_close(socket);
    free(own);
    return NULL;
}

sim_thread *security_handler(int host, int64_t context)
{
    handler *own = calloc(1, sizeof *own);
    own->context = context;
    sim_thread *thread = sim_spawn("zap", host, false, handle, own);
    while (!own->there)
        sim_sleep(SIM_MS);
    return thread;
}

/* --- strangers ------------------------------------------------------------------------------- */

typedef struct stranger {
    const service *of;
    int port;
} stranger;

extern int __wrap_socket(int family, int type, int protocol);
extern int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
extern ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
extern int __wrap_close(int fd);

/* Opens connections, says nothing or a little, and goes. */
static void *bother(void *argument)
{
    stranger *own = argument;
    const end *hub = &ends[own->of->first_end];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t) own->port)};
    to.sin_addr.s_addr = htonl(sim_host_address(hub->host));
    for (int visits = 1 + (int) sim_below(4); visits && !security_over; visits--) {
        sim_sleep((int64_t) sim_below(200) * SIM_MS);
        int fd = __wrap_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0)
            continue;
        __wrap_connect(fd, (const struct sockaddr *) &to, sizeof to);
        sim_sleep(2 * (PLAN->latency + PLAN->jitter) + (int64_t) sim_below(400) * SIM_MS);
        if (sim_below(2)) {
            static const uint8_t greeting[] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N'};
            struct iovec part = {(void *) greeting, 1 + sim_below(sizeof greeting)};
            __wrap_sendmsg(fd, &(struct msghdr) {.msg_iov = &part, .msg_iovlen = 1}, 0);
        }
        sim_sleep((int64_t) sim_below(3000) * SIM_MS);
        __wrap_close(fd);
    }
    free(own);
    return NULL;
}

sim_thread *security_stranger(const service *of, int host)
{
    stranger *own = calloc(1, sizeof *own);
    *own = (stranger) {of, 7000 + of->id};
    sim_say("a stranger on host %d for service %d", host, of->id);
    return sim_spawn("stranger", host, false, bother, own);
}
