/* What is known of a connection and told with its messages: addresses, identity, properties. Never
 * changes once it is made, is counted, and needs no lock. */
#ifndef ZM_PIPE_METADATA_H
#define ZM_PIPE_METADATA_H

#include "../objects.h"
#include "../socket/options.h"
#include "../zmtp/session.h"

/* `more`: properties that go before the session's. */
zm_metadata *zm_metadata_new(const zm_session *session, int fd, const char *peer_address,
                             const zm_bytes *more);
zm_metadata *zm_metadata_ref(zm_metadata *borrowed);
void zm_metadata_unref(zm_metadata *taken); /* NULL allowed */
const char *zm_metadata_get(const zm_metadata *metadata, const char *name);

#endif
