/* Reference models: what may arrive at a socket of each type, whatever chance does. Each is asked
 * of every message that comes, behind the laws that hold for all types. */
#include <stdlib.h>

#include "app.h"

/* Nobody without the key is heard, and nobody hears (S-19). */
static void strangers(const end *e, const end *from)
{
    if (e->intrusion || from->intrusion)
        sim_broken("without the key no byte of payload", "socket %d: a message of %d came", e->id,
                   from->id);
}

/* Between the two sides of a service, and in the directions that there are (the table of types). */
static void directions(const end *e, const end *from)
{
    if (e->binder == from->binder || !e->receives || !from->sends)
        sim_broken("a message goes where it was sent", "socket %d: of %d, which is no peer", e->id,
                   from->id);
}

/* SUB, XSUB: what it has asked for at some time. */
static void subscriber(const end *e, const arrival *a)
{
    if (e->of->conflates)
        return;
    unsigned topic = a->number % TOPICS;
    if (a->routes != 1 || a->route_size[0] != 1 || a->route[0][0] != 'A' + topic)
        sim_broken("parts never mix", "socket %d: message %u of %d without its topic", e->id,
                   a->number, a->sender);
    if (!(e->topics_ever >> topic & 1))
        sim_broken("a subscriber gets what it asked for", "socket %d: message %u of %d, topic %c",
                   e->id, a->number, a->sender, 'A' + (int) topic);
}

/* REQ: the answer to its last request. DEALER: an answer to one of its own, or no answer. Each
 * request has one answer. */
static void answers(const end *e, const arrival *a)
{
    if (a->to == NOBODY) {
        if (e->type == T_REQ)
            sim_broken("a reply answers a request", "socket %d: message %u of %d", e->id, a->number,
                       a->sender);
        return;
    }
    if (a->to != e->id)
        sim_broken("a message goes where it was sent", "socket %d: message %u of %d, for %d", e->id,
                   a->number, a->sender, a->to);
    if (a->answers >= e->sent || !e->records[a->answers].offered || e->records[a->answers].answers++
        || (e->type == T_REQ && !e->restarted && a->answers != e->asked))
        sim_broken("a reply answers a request", "socket %d: message %u of %d answers %u, the last "
                   "one was %u", e->id, a->number, a->sender, a->answers, e->asked);
}

void model_arrived(end *e, const arrival *a)
{
    const end *from = &ends[a->sender];
    strangers(e, from);
    directions(e, from);
    if (e->type == T_SUB || e->type == T_XSUB)
        subscriber(e, a);
    else
        answers(e, a);
}
