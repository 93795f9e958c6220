/* Topics as a compressed radix tree: a node stands for the bytes on the way to it, and an inner
 * node without peers has at least two children. So a message is matched by walking down along its
 * own bytes, past every topic that is a prefix of it and past no other.
 *
 *  - Nothing recurses: a peer chooses how deep the tree is.
 *  - A node that is a topic keeps its place in memory until the topic goes (splitting and merging
 *    replace the others), so peers can point to it: each peer has an array of its topics, each
 *    topic an array of its peers, and each entry of the second knows its place in the first.
 *  - An addition that runs out of memory leaves the index as it was; a removal needs none. */
#include "subscription_index.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../base/alloc.h"
#include "../base/check.h"

enum { LABEL_INLINE = 16, SUBSCRIBERS_INLINE = 2, CHILDREN_MAX = 256 };

typedef struct subscriber {
    uint32_t peer;
    uint32_t place; /* peers[peer].topics[place] is this node */
} subscriber;

typedef struct node node;
struct node {
    node *parent;
    size_t depth; /* bytes of the whole topic */
    size_t label_size;
    union {
        uint8_t here[LABEL_INLINE];
        uint8_t *elsewhere; /* owned; label_size > LABEL_INLINE */
    } label;
    node **children;    /* owned, by first byte of their labels */
    uint8_t *firsts;    /* those bytes; in the same piece of memory */
    uint16_t child_count, child_room;
    uint32_t count;     /* a SUB's own subscriptions */
    uint32_t subscriber_count, subscriber_room;
    union {
        subscriber here[SUBSCRIBERS_INLINE];
        subscriber *elsewhere; /* owned; subscriber_room > SUBSCRIBERS_INLINE */
    } subscribers;             /* by peer */
};

typedef struct peer_topics {
    node **topics; /* owned */
    uint32_t count, room;
} peer_topics;

struct zm_subscription_index {
    node root; /* the empty topic; always there */
    size_t topic_count;
    peer_topics *peers; /* owned */
    uint32_t *marks;    /* owned; marks[peer] == epoch: was hit by this match already */
    uint32_t epoch;
    uint32_t peer_room;
    uint8_t *topic; /* owned; room for the longest topic */
    size_t topic_room;
};

/* --- labels ----------------------------------------------------------------------------------- */

static const uint8_t *label_of(const node *n)
{
    return n->label_size <= LABEL_INLINE ? n->label.here : n->label.elsewhere;
}

static void label_free(node *n)
{
    if (n->label_size > LABEL_INLINE)
        zm_free(n->label.elsewhere);
}

static int label_init(node *n, const uint8_t *bytes, size_t size)
{
    uint8_t *place = n->label.here;
    if (size > LABEL_INLINE) {
        place = zm_alloc(size);
        if (!place)
            return -ENOMEM;
        n->label.elsewhere = place;
    }
    memcpy(place, bytes, size);
    n->label_size = size;
    return 0;
}

static void label_drop_front(node *n, size_t size)
{
    ZM_ASSERT(size < n->label_size);
    size_t left = n->label_size - size;
    if (n->label_size <= LABEL_INLINE) {
        memmove(n->label.here, n->label.here + size, left);
    } else if (left <= LABEL_INLINE) {
        uint8_t *old = n->label.elsewhere;
        memcpy(n->label.here, old + size, left);
        zm_free(old);
    } else {
        memmove(n->label.elsewhere, n->label.elsewhere + size, left);
        uint8_t *smaller = zm_realloc(n->label.elsewhere, left);
        if (smaller)
            n->label.elsewhere = smaller;
    }
    n->label_size = left;
}

static int label_put_front(node *n, const uint8_t *bytes, size_t size)
{
    size_t whole = size + n->label_size;
    if (whole <= LABEL_INLINE) {
        memmove(n->label.here + size, n->label.here, n->label_size);
        memcpy(n->label.here, bytes, size);
    } else {
        uint8_t *longer = zm_alloc(whole);
        if (!longer)
            return -ENOMEM;
        memcpy(longer, bytes, size);
        memcpy(longer + size, label_of(n), n->label_size);
        label_free(n);
        n->label.elsewhere = longer;
    }
    n->label_size = whole;
    return 0;
}

/* --- children --------------------------------------------------------------------------------- */

/* Where the child with this first byte is; child_count: nowhere. */
static size_t child_find(const node *n, uint8_t first)
{
    if (!n->child_count)
        return 0;
    const uint8_t *found = memchr(n->firsts, first, n->child_count);
    return found ? (size_t) (found - n->firsts) : n->child_count;
}

static int children_resize(node *n, size_t room)
{
    ZM_ASSERT(room >= n->child_count);
    node **children = NULL;
    uint8_t *firsts = NULL;
    if (room) {
        children = zm_alloc(room * (sizeof *children + 1));
        if (!children)
            return -ENOMEM;
        firsts = (uint8_t *) (children + room);
    }
    if (n->child_count) {
        memcpy(children, n->children, n->child_count * sizeof *children);
        memcpy(firsts, n->firsts, n->child_count);
    }
    zm_free(n->children);
    n->children = children;
    n->firsts = firsts;
    n->child_room = (uint16_t) room;
    return 0;
}

static int child_add(node *n, node *child)
{
    if (n->child_count == n->child_room) {
        size_t room = n->child_room ? (size_t) n->child_room * 4 : 1;
        int rc = children_resize(n, room > CHILDREN_MAX ? CHILDREN_MAX : room);
        if (rc < 0)
            return rc;
    }
    uint8_t first = label_of(child)[0];
    size_t at = 0;
    while (at < n->child_count && n->firsts[at] < first)
        at++;
    size_t behind = n->child_count - at;
    memmove(n->children + at + 1, n->children + at, behind * sizeof *n->children);
    memmove(n->firsts + at + 1, n->firsts + at, behind);
    n->children[at] = child;
    n->firsts[at] = first;
    n->child_count++;
    child->parent = n;
    return 0;
}

static void child_replace(node *n, node *old, node *by)
{
    size_t at = child_find(n, label_of(by)[0]);
    ZM_ASSERT(at < n->child_count && n->children[at] == old);
    n->children[at] = by;
    by->parent = n;
}

static void child_remove(node *n, const node *child)
{
    size_t at = child_find(n, label_of(child)[0]);
    ZM_ASSERT(at < n->child_count && n->children[at] == child);
    size_t behind = n->child_count - at - 1u;
    memmove(n->children + at, n->children + at + 1, behind * sizeof *n->children);
    memmove(n->firsts + at, n->firsts + at + 1, behind);
    n->child_count--;
    if (n->child_count <= n->child_room / 8)
        children_resize(n, n->child_count); /* without memory it stays as large as it is */
}

/* --- nodes ------------------------------------------------------------------------------------ */

static bool is_topic(const node *n)
{
    return n->subscriber_count || n->count;
}

static node *node_new(const uint8_t *label, size_t label_size, size_t depth)
{
    node *n = zm_calloc(sizeof *n);
    if (!n)
        return NULL;
    if (label_init(n, label, label_size) < 0) {
        zm_free(n);
        return NULL;
    }
    n->depth = depth;
    n->subscriber_room = SUBSCRIBERS_INLINE;
    return n;
}

static void node_fini(node *n)
{
    label_free(n);
    zm_free(n->children);
    if (n->subscriber_room > SUBSCRIBERS_INLINE)
        zm_free(n->subscribers.elsewhere);
}

static void node_free(node *n)
{
    node_fini(n);
    zm_free(n);
}

static size_t common_prefix(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    size_t size = a_size < b_size ? a_size : b_size;
    size_t at = 0;
    while (at < size && a[at] == b[at])
        at++;
    return at;
}

/* The child of `n` that data[at..size) leads all the way to; NULL: none. */
static node *step(const node *n, const uint8_t *data, size_t at, size_t size)
{
    if (at == size)
        return NULL;
    size_t which = child_find(n, data[at]);
    if (which == n->child_count)
        return NULL;
    node *child = n->children[which];
    if (child->label_size > size - at || memcmp(label_of(child), data + at, child->label_size) != 0)
        return NULL;
    return child;
}

static node *find(zm_subscription_index *index, const uint8_t *topic, size_t size)
{
    node *n = &index->root;
    while (n && n->depth < size)
        n = step(n, topic, n->depth, size);
    return n;
}

/* Takes away what is of no use from `n` upwards. */
static void prune(zm_subscription_index *index, node *n)
{
    while (n != &index->root && !is_topic(n) && n->child_count < 2) {
        node *parent = n->parent;
        if (n->child_count == 1) {
            node *child = n->children[0];
            if (label_put_front(child, label_of(n), n->label_size) < 0)
                return; /* a node too many does no harm */
            child_replace(parent, n, child);
        } else {
            child_remove(parent, n);
        }
        node_free(n);
        n = parent;
    }
}

/* Puts a node between `child` and its parent, where the child's label has taken `size` bytes. */
static node *split(node *child, size_t size)
{
    node *parent = child->parent;
    node *middle = node_new(label_of(child), size, parent->depth + size);
    if (!middle)
        return NULL;
    if (children_resize(middle, 1) < 0) {
        node_free(middle);
        return NULL;
    }
    child_replace(parent, child, middle);
    label_drop_front(child, size);
    child_add(middle, child); /* there is room */
    return middle;
}

/* The node of the topic, made where there is none; NULL: memory is out. */
static node *find_or_make(zm_subscription_index *index, const uint8_t *topic, size_t size)
{
    node *n = &index->root;
    while (n->depth < size) {
        const uint8_t *rest = topic + n->depth;
        size_t rest_size = size - n->depth;
        size_t which = child_find(n, rest[0]);
        if (which == n->child_count) {
            node *leaf = node_new(rest, rest_size, size);
            if (leaf && child_add(n, leaf) == 0)
                return leaf;
            if (leaf)
                node_free(leaf);
            prune(index, n); /* it may have been made by a split just now */
            return NULL;
        }
        node *child = n->children[which];
        size_t common = common_prefix(label_of(child), child->label_size, rest, rest_size);
        if (common < child->label_size)
            child = split(child, common);
        if (!child)
            return NULL;
        n = child;
    }
    return n;
}

/* --- sets ------------------------------------------------------------------------------------- */

static subscriber *subscribers_of(node *n)
{
    return n->subscriber_room > SUBSCRIBERS_INLINE ? n->subscribers.elsewhere : n->subscribers.here;
}

/* Where the peer is, or should be. */
static uint32_t subscriber_find(node *n, uint32_t peer, bool *out_found)
{
    const subscriber *all = subscribers_of(n);
    uint32_t low = 0, high = n->subscriber_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (all[middle].peer < peer)
            low = middle + 1;
        else
            high = middle;
    }
    *out_found = low < n->subscriber_count && all[low].peer == peer;
    return low;
}

static int subscribers_resize(node *n, uint32_t room)
{
    subscriber *old = subscribers_of(n);
    bool was_elsewhere = n->subscriber_room > SUBSCRIBERS_INLINE;
    if (room <= SUBSCRIBERS_INLINE) {
        subscriber kept[SUBSCRIBERS_INLINE];
        ZM_ASSERT(n->subscriber_count <= SUBSCRIBERS_INLINE);
        memcpy(kept, old, n->subscriber_count * sizeof *old);
        if (was_elsewhere)
            zm_free(old);
        memcpy(n->subscribers.here, kept, n->subscriber_count * sizeof *old);
        n->subscriber_room = SUBSCRIBERS_INLINE;
        return 0;
    }
    subscriber *resized = zm_realloc(was_elsewhere ? old : NULL, room * sizeof *resized);
    if (!resized)
        return -ENOMEM;
    if (!was_elsewhere)
        memcpy(resized, old, n->subscriber_count * sizeof *old);
    n->subscribers.elsewhere = resized;
    n->subscriber_room = room;
    return 0;
}

static int peers_grow(zm_subscription_index *index, uint32_t peer)
{
    if (peer < index->peer_room)
        return 0;
    size_t room = index->peer_room ? (size_t) index->peer_room * 2 : 8;
    if (room <= peer)
        room = (size_t) peer + 1;
    if (room > UINT32_MAX)
        room = UINT32_MAX;
    if (room <= peer)
        return -ENOMEM;
    /* Each of the two may stay larger than peer_room says: the next call finds it so. */
    uint32_t *marks = zm_realloc(index->marks, room * sizeof *marks);
    if (!marks)
        return -ENOMEM;
    index->marks = marks;
    peer_topics *peers = zm_realloc(index->peers, room * sizeof *peers);
    if (!peers)
        return -ENOMEM;
    index->peers = peers;
    memset(marks + index->peer_room, 0, (room - index->peer_room) * sizeof *marks);
    memset(peers + index->peer_room, 0, (room - index->peer_room) * sizeof *peers);
    index->peer_room = (uint32_t) room;
    return 0;
}

static int peer_reserve(peer_topics *peer)
{
    if (peer->count < peer->room)
        return 0;
    if (peer->room > UINT32_MAX / 2)
        return -ENOMEM;
    uint32_t room = peer->room ? peer->room * 2 : 4;
    node **topics = zm_realloc(peer->topics, room * sizeof *topics);
    if (!topics)
        return -ENOMEM;
    peer->topics = topics;
    peer->room = room;
    return 0;
}

/* Takes peer->topics[place] out; its node is told elsewhere. */
static void peer_forget(zm_subscription_index *index, uint32_t number, uint32_t place)
{
    peer_topics *peer = &index->peers[number];
    uint32_t last = --peer->count;
    if (place != last) {
        node *moved = peer->topics[last];
        bool found;
        uint32_t at = subscriber_find(moved, number, &found);
        ZM_ASSERT(found);
        subscribers_of(moved)[at].place = place;
        peer->topics[place] = moved;
    }
    if (!peer->count) {
        zm_free(peer->topics);
        peer->topics = NULL;
        peer->room = 0;
    } else if (peer->count <= peer->room / 4) {
        node **smaller = zm_realloc(peer->topics, peer->room / 2 * sizeof *smaller);
        if (smaller) {
            peer->topics = smaller;
            peer->room /= 2;
        }
    }
}

/* Takes the peer, which is subscribers[at], from the topic; true: it was the last one. */
static bool unlink_peer(zm_subscription_index *index, node *n, uint32_t at)
{
    subscriber *all = subscribers_of(n);
    subscriber gone = all[at];
    ZM_ASSERT(index->peers[gone.peer].topics[gone.place] == n);
    memmove(all + at, all + at + 1, (n->subscriber_count - at - 1) * sizeof *all);
    n->subscriber_count--;
    if (n->subscriber_room > SUBSCRIBERS_INLINE && n->subscriber_count <= n->subscriber_room / 4)
        subscribers_resize(n, n->subscriber_room / 2);
    peer_forget(index, gone.peer, gone.place);
    return n->subscriber_count == 0;
}

/* --- the index -------------------------------------------------------------------------------- */

zm_subscription_index *zm_subscriptions_new(void)
{
    zm_subscription_index *index = zm_calloc(sizeof *index);
    if (index)
        index->root.subscriber_room = SUBSCRIBERS_INLINE;
    return index;
}

void zm_subscriptions_free(zm_subscription_index *taken)
{
    if (!taken)
        return;
    node *n = &taken->root;
    for (;;) {
        if (n->child_count) {
            n = n->children[--n->child_count];
            continue;
        }
        if (n == &taken->root)
            break;
        node *parent = n->parent;
        node_free(n);
        n = parent;
    }
    node_fini(&taken->root);
    for (uint32_t i = 0; i < taken->peer_room; i++)
        zm_free(taken->peers[i].topics);
    zm_free(taken->peers);
    zm_free(taken->marks);
    zm_free(taken->topic);
    zm_free(taken);
}

/* Room to spell any topic without allocating: removals must not fail. */
static int topic_reserve(zm_subscription_index *index, size_t size)
{
    if (index->topic && size <= index->topic_room)
        return 0;
    size_t room = size < 64 ? 64 : size;
    uint8_t *topic = zm_realloc(index->topic, room);
    if (!topic)
        return -ENOMEM;
    index->topic = topic;
    index->topic_room = room;
    return 0;
}

static void topic_gone(zm_subscription_index *index, node *n)
{
    if (is_topic(n))
        return;
    index->topic_count--;
    prune(index, n);
}

/* Without topics nothing needs to be spelled. */
static void topic_release(zm_subscription_index *index)
{
    if (index->topic_count)
        return;
    zm_free(index->topic);
    index->topic = NULL;
    index->topic_room = 0;
}

static const uint8_t *spell(const zm_subscription_index *index, const node *n)
{
    ZM_ASSERT(n->depth <= index->topic_room);
    for (; n->parent; n = n->parent)
        memcpy(index->topic + n->parent->depth, label_of(n), n->label_size);
    return index->topic;
}

int zm_subscriptions_add(zm_subscription_index *index, const uint8_t *topic, size_t size,
                         uint32_t peer)
{
    if (peers_grow(index, peer) < 0 || peer_reserve(&index->peers[peer]) < 0
        || topic_reserve(index, size) < 0)
        return -ENOMEM;
    node *n = find_or_make(index, topic, size);
    if (!n)
        return -ENOMEM;
    bool found;
    uint32_t at = subscriber_find(n, peer, &found);
    if (found)
        return -EEXIST;
    if (n->subscriber_count == n->subscriber_room
        && (n->subscriber_room > UINT32_MAX / 2
            || subscribers_resize(n, n->subscriber_room * 2) < 0))
        return -ENOMEM; /* the node has subscribers, so it is not a new one */

    bool was_topic = is_topic(n);
    subscriber *all = subscribers_of(n);
    peer_topics *topics = &index->peers[peer];
    memmove(all + at + 1, all + at, (n->subscriber_count - at) * sizeof *all);
    all[at] = (subscriber){.peer = peer, .place = topics->count};
    topics->topics[topics->count++] = n;
    n->subscriber_count++;
    index->topic_count += !was_topic;
    return n->subscriber_count == 1;
}

bool zm_subscriptions_has(zm_subscription_index *index, const uint8_t *topic, size_t size,
                          uint32_t peer)
{
    node *n = find(index, topic, size);
    bool found = false;
    if (n)
        subscriber_find(n, peer, &found);
    return found;
}

int zm_subscriptions_remove(zm_subscription_index *index, const uint8_t *topic, size_t size,
                            uint32_t peer)
{
    node *n = find(index, topic, size);
    bool found = false;
    uint32_t at = n ? subscriber_find(n, peer, &found) : 0;
    if (!found)
        return -ENOENT;
    bool last = unlink_peer(index, n, at);
    topic_gone(index, n);
    topic_release(index);
    return last;
}

void zm_subscriptions_remove_peer(zm_subscription_index *index, uint32_t peer,
                                  void (*gone)(void *context, const uint8_t *topic, size_t size,
                                               bool last),
                                  void *context)
{
    while (peer < index->peer_room && index->peers[peer].count) {
        peer_topics *topics = &index->peers[peer];
        node *n = topics->topics[topics->count - 1];
        size_t size = n->depth;
        const uint8_t *topic = spell(index, n);
        bool found;
        uint32_t at = subscriber_find(n, peer, &found);
        ZM_ASSERT(found);
        bool last = unlink_peer(index, n, at);
        topic_gone(index, n);
        gone(context, topic, size, last);
    }
    topic_release(index);
}

void zm_subscriptions_match(zm_subscription_index *index, const uint8_t *data, size_t size,
                            void (*hit)(void *context, uint32_t peer), void *context)
{
    if (++index->epoch == 0) {
        if (index->peer_room)
            memset(index->marks, 0, index->peer_room * sizeof *index->marks);
        index->epoch = 1;
    }
    uint32_t *marks = index->marks;
    for (node *n = &index->root; n; n = n->child_count ? step(n, data, n->depth, size) : NULL) {
        const subscriber *all = subscribers_of(n);
        for (uint32_t i = 0; i < n->subscriber_count; i++) {
            uint32_t peer = all[i].peer;
            if (marks[peer] == index->epoch)
                continue;
            marks[peer] = index->epoch;
            hit(context, peer);
        }
    }
}

bool zm_subscriptions_any(const zm_subscription_index *index, const uint8_t *data, size_t size)
{
    for (const node *n = &index->root; n; n = step(n, data, n->depth, size))
        if (is_topic(n))
            return true;
    return false;
}

/* The node behind `n` in byte order; NULL: that was the last. */
static const node *next_in_order(const node *n)
{
    if (n->child_count)
        return n->children[0];
    for (; n->parent; n = n->parent) {
        size_t behind = child_find(n->parent, label_of(n)[0]) + 1;
        if (behind < n->parent->child_count)
            return n->parent->children[behind];
    }
    return NULL;
}

void zm_subscriptions_each(const zm_subscription_index *index,
                           void (*each)(void *context, const uint8_t *topic, size_t size),
                           void *context)
{
    for (const node *n = &index->root; n; n = next_in_order(n)) {
        if (n->parent) {
            ZM_ASSERT(n->depth <= index->topic_room);
            memcpy(index->topic + n->parent->depth, label_of(n), n->label_size);
        }
        if (is_topic(n))
            each(context, index->topic, n->depth);
    }
}

size_t zm_subscriptions_count(const zm_subscription_index *index)
{
    return index->topic_count;
}

/* --- a SUB's own subscriptions ---------------------------------------------------------------- */

int zm_topic_counts_add(zm_subscription_index *index, const uint8_t *topic, size_t size)
{
    if (topic_reserve(index, size) < 0)
        return -ENOMEM;
    node *n = find_or_make(index, topic, size);
    if (!n || n->count == INT_MAX)
        return -ENOMEM;
    index->topic_count += !is_topic(n);
    return (int) ++n->count;
}

int zm_topic_counts_remove(zm_subscription_index *index, const uint8_t *topic, size_t size)
{
    node *n = find(index, topic, size);
    if (!n || !n->count)
        return -ENOENT;
    int left = (int) --n->count;
    topic_gone(index, n);
    topic_release(index);
    return left;
}
