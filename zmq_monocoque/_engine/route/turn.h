/* Whose turn is it? A round of peers that are ready, each served once a turn. The same structure is
 * the fair queue (peers with a message to read) and the load balancer (peers with room to
 * write). */
#ifndef ZM_ROUTE_TURN_H
#define ZM_ROUTE_TURN_H

#include "../base/list.h"

typedef struct zm_turn {
    zm_list ready;
} zm_turn;

static inline void zm_turn_init(zm_turn *turn)
{
    zm_list_init(&turn->ready);
}

/* Joins at the end of the round; nothing if it is in already. */
static inline void zm_turn_join(zm_turn *turn, zm_list *member)
{
    if (!zm_list_linked(member))
        zm_list_append(&turn->ready, member);
}

static inline void zm_turn_leave(zm_list *member)
{
    zm_list_remove(member);
}

/* The member whose turn it is; NULL: nobody is ready. */
static inline zm_list *zm_turn_first(const zm_turn *turn)
{
    return zm_list_empty(&turn->ready) ? NULL : turn->ready.next;
}

/* The member had its turn: back to the end of the round. */
static inline void zm_turn_pass(zm_turn *turn, zm_list *member)
{
    if (member->next == member->prev)
        return;
    zm_list_remove(member);
    zm_list_append(&turn->ready, member);
}

#endif
