/* Found before the compiler's own by the engine's sources: every operation on an atomic is a point
 * at which another thread may run. That is where threads meet, so no other point is needed. */
#ifndef ZM_SIMULATED_STDATOMIC_H
#define ZM_SIMULATED_STDATOMIC_H

#include_next <stdatomic.h>

void sim_step(void);

#undef atomic_load_explicit
#undef atomic_load
#undef atomic_store_explicit
#undef atomic_store
#undef atomic_exchange_explicit
#undef atomic_exchange
#undef atomic_fetch_add_explicit
#undef atomic_fetch_add
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_and_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_weak

#define atomic_load_explicit(p, order) (sim_step(), __atomic_load_n((p), __ATOMIC_SEQ_CST))
#define atomic_load(p) atomic_load_explicit(p, 0)
#define atomic_store_explicit(p, value, order) \
    (sim_step(), __atomic_store_n((p), (value), __ATOMIC_SEQ_CST))
#define atomic_store(p, value) atomic_store_explicit(p, value, 0)
#define atomic_exchange_explicit(p, value, order) \
    (sim_step(), __atomic_exchange_n((p), (value), __ATOMIC_SEQ_CST))
#define atomic_exchange(p, value) atomic_exchange_explicit(p, value, 0)
#define atomic_fetch_add_explicit(p, value, order) \
    (sim_step(), __atomic_fetch_add((p), (value), __ATOMIC_SEQ_CST))
#define atomic_fetch_add(p, value) atomic_fetch_add_explicit(p, value, 0)
#define atomic_fetch_sub_explicit(p, value, order) \
    (sim_step(), __atomic_fetch_sub((p), (value), __ATOMIC_SEQ_CST))
#define atomic_fetch_sub(p, value) atomic_fetch_sub_explicit(p, value, 0)
#define atomic_fetch_and_explicit(p, value, order) \
    (sim_step(), __atomic_fetch_and((p), (value), __ATOMIC_SEQ_CST))
#define atomic_compare_exchange_strong_explicit(p, seen, value, order, other) \
    (sim_step(), __atomic_compare_exchange_n((p), (seen), (value), 0, __ATOMIC_SEQ_CST, \
                                             __ATOMIC_SEQ_CST))
#define atomic_compare_exchange_strong(p, seen, value) \
    atomic_compare_exchange_strong_explicit(p, seen, value, 0, 0)
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit
#define atomic_compare_exchange_weak(p, seen, value) \
    atomic_compare_exchange_strong_explicit(p, seen, value, 0, 0)

#endif
