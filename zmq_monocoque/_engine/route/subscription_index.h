/* Which peers want a message? Topics (byte prefixes) to sets of peers, for PUB and XPUB; and, with
 * a count a topic instead of peers, a SUB's own subscriptions. A peer is named by a small index.
 * No descriptors, no clock, no threads. */
#ifndef ZM_ROUTE_SUBSCRIPTION_INDEX_H
#define ZM_ROUTE_SUBSCRIPTION_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No callback below may change the index that calls it. Peers' numbers should be small: the index
 * keeps a few bytes for each number up to the largest. */
typedef struct zm_subscription_index zm_subscription_index;

zm_subscription_index *zm_subscriptions_new(void); /* NULL: memory is out */
void zm_subscriptions_free(zm_subscription_index *taken); /* NULL allowed */

/* Peer `peer` subscribes to `topic` (a set: twice is once). 1: the topic is new to the index (no
 * peer had it). 0: not new. -EEXIST: this peer had it already. -ENOMEM. */
int zm_subscriptions_add(zm_subscription_index *index, const uint8_t *topic, size_t size,
                         uint32_t peer);
/* Has this peer subscribed to this very topic? */
bool zm_subscriptions_has(zm_subscription_index *index, const uint8_t *topic, size_t size,
                          uint32_t peer);
/* 1: that was the topic's last peer. 0: others keep it. -ENOENT: this peer did not have it. */
int zm_subscriptions_remove(zm_subscription_index *index, const uint8_t *topic, size_t size,
                            uint32_t peer);
/* Forgets everything of `peer`. `gone` is called for each of its topics, `last` telling whether no
 * peer is left there; the topic's bytes are valid during the call only. */
void zm_subscriptions_remove_peer(zm_subscription_index *index, uint32_t peer,
                                  void (*gone)(void *context, const uint8_t *topic, size_t size,
                                               bool last),
                                  void *context);
/* Calls `hit` for every peer with a prefix of data[0..size), once a peer however many match, in no
 * order. Costs O(size + peers hit), however many topics there are. */
void zm_subscriptions_match(zm_subscription_index *index, const uint8_t *data, size_t size,
                            void (*hit)(void *context, uint32_t peer), void *context);
/* Is there a peer with (or a count of) a prefix of the data? */
bool zm_subscriptions_any(const zm_subscription_index *index, const uint8_t *data, size_t size);
/* Calls `each` for every topic, in byte order. */
void zm_subscriptions_each(const zm_subscription_index *index,
                           void (*each)(void *context, const uint8_t *topic, size_t size),
                           void *context);
/* Distinct topics, of peers or counted (TOPICS_COUNT). */
size_t zm_subscriptions_count(const zm_subscription_index *index);

/* --- a SUB's own subscriptions (S-75) -------------------------------------------------------- */

/* Subscribes once more. The new count of the topic (1: new); -ENOMEM. */
int zm_topic_counts_add(zm_subscription_index *index, const uint8_t *topic, size_t size);
/* Unsubscribes once. The count that remains (0: the topic is gone); -ENOENT: there was none. */
int zm_topic_counts_remove(zm_subscription_index *index, const uint8_t *topic, size_t size);

#endif
