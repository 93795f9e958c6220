/* Intrusive doubly linked list. A node is in at most one list; `next == NULL` means in none. */
#ifndef ZM_BASE_LIST_H
#define ZM_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct zm_list {
    struct zm_list *next, *prev;
} zm_list;

static inline void zm_list_init(zm_list *head)
{
    head->next = head->prev = head;
}

static inline bool zm_list_empty(const zm_list *head)
{
    return head->next == head;
}

static inline bool zm_list_linked(const zm_list *node)
{
    return node->next != NULL;
}

static inline void zm_list_append(zm_list *head, zm_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* All of `from` goes to the end of `head`. */
static inline void zm_list_append_all(zm_list *head, zm_list *from)
{
    if (zm_list_empty(from))
        return;
    from->next->prev = head->prev;
    head->prev->next = from->next;
    from->prev->next = head;
    head->prev = from->prev;
    zm_list_init(from);
}

static inline void zm_list_remove(zm_list *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = NULL;
}

#define ZM_LIST_EACH(node, head) \
    for (zm_list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

#endif
