/* Many hosts: PUB and SUB, flat or behind a tree of proxies, and what they cost. */
#ifndef SIM_SCALE_H
#define SIM_SCALE_H

/* "peers=1000 brokers=10 messages=100 size=100 driver=0"; what is not there has a default. */
void scale_ask(const char *text);
/* The first thread's whole life, in place of work()'s. */
void *scale(void *unused);

#endif
