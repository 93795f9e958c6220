/* What the files of the network share.
 *
 * A stream that the program has closed, and a link whose ends are gone, stay in memory: events may
 * name them, and a run is short. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "kernel.h"
#include "sim.h"

typedef enum state { FRESH, LISTENING, CONNECTING, CONNECTED, FAILED } state;

typedef struct bytes {
    uint8_t *data;
    size_t head, size, room;
} bytes;

typedef struct direction {
    bytes out, in; /* not yet there; there, and not yet read */
    size_t in_flight;
    bool ends, end_sent, ended;
    int64_t last_arrival;
} direction;

typedef struct stream stream;

typedef struct link {
    stream *ends[2]; /* NULL: closed */
    direction ways[2]; /* from that end to the other */
    bool dead[2];      /* that end knows nothing of the link any more */
    bool local;
    int64_t stalled_until;
} link;

struct stream {
    sim_file file;
    int family, host, error, lowat;
    state state;
    bool closed, told;
    struct sockaddr_storage local, remote;
    socklen_t local_size, remote_size;
    stream *line, *line_last, *line_next; /* of a listener: who waits to be accepted */
    int line_count, line_max;
    stream *chain_next; /* of listeners, by name */
    link *link;
    int side;
    int tries;
};

/* --- the network: link.c --------------------------------------------------------------------- */
void bytes_put(bytes *b, const void *data, size_t size);
void bytes_take(bytes *b, size_t size);
void bytes_forget(bytes *b);
int64_t link_latency(const link *l); /* NULL: of another host */
/* What that end has is sent, as far as the window of the other one goes. */
void link_transmit(link *l, int from);
void link_send_reset(link *l, int side);
void link_break(link *l);

/* --- names: names.c -------------------------------------------------------------------------- */
/* 0.0.0.0 and 127.0.0.1 are those of a host. */
void make_whole(struct sockaddr_in *in, int host);
in_port_t fresh_port(void);
stream *listener_at(const struct sockaddr_storage *name);
void enter_listener(stream *s);
/* What listened is found no more. */
void leave_names(stream *s);
/* 0, or -errno: there is none, or nobody listens there any more. */
int path_listener(const struct sockaddr *address, socklen_t size, stream **out);

/* --- sockets: net.c -------------------------------------------------------------------------- */
stream *stream_of(int fd); /* NULL: it is none */

#endif
