/* The workload: the first thread's whole life. */
#ifndef SIM_WORK_H
#define SIM_WORK_H

void *work(void *unused);

#endif
