/* Asks the context's ZAP handler (RFC 27) who may come in. */
#include "internal.h"

bool zm_zap_wanted(const zm_options *o)
{
    switch (o->mechanism) {
    case ZM_NULL:
        return o->zap_domain.size > 0;
    case ZM_PLAIN:
        return o->as_server;
    default:
        return o->as_server && (o->zap_domain.size > 0 || !o->zap_enforce_domain);
    }
}
