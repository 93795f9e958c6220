/* Which mechanisms there are. */
#include "mechanism.h"

#include "base/crypto.h"

const zm__mechanism *zm__mechanism_find(zm_mechanism mechanism)
{
    switch (mechanism) {
    case ZM_NULL:
        return &zm__mechanism_null;
    case ZM_PLAIN:
        return &zm__mechanism_plain;
    case ZM_CURVE:
        return zm_crypto_get() ? &zm__mechanism_curve : NULL;
    }
    return NULL;
}
