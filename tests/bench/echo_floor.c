/* What the kernel alone allows for router_echo: CLIENTS connections to one server, one message of
 * SIZE bytes in flight on each, both ends plain epoll loops in C without framing, queues or Python.
 * Prints round trips a second.
 *
 *     gcc -O2 -o /tmp/floor tests/bench/echo_floor.c && /tmp/floor [CLIENTS] [SIZE] [SECONDS] */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void need(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void watch(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    need(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

/* Sends everything back, until `until`. Returns how many messages. */
static long echo(int set, size_t size, double until)
{
    struct epoll_event events[EVENTS];
    char buffer[65536];
    long count = 0;
    while (now() < until) {
        int n = epoll_wait(set, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            ssize_t got = recv(events[i].data.fd, buffer, size, 0);
            if (got <= 0)
                return count;
            need(send(events[i].data.fd, buffer, (size_t) got, MSG_NOSIGNAL) == got, "send");
            count++;
        }
    }
    return count;
}

int main(int argc, char **argv)
{
    int clients = argc > 1 ? atoi(argv[1]) : 200;
    size_t size = argc > 2 ? (size_t) atoi(argv[2]) : 75;
    double seconds = argc > 3 ? atof(argv[3]) : 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    need(bind(listener, (struct sockaddr *) &address, length) == 0, "bind");
    need(listen(listener, 1024) == 0, "listen");
    getsockname(listener, (struct sockaddr *) &address, &length);
    double until = now() + seconds + 1;
    pid_t server = fork();
    int set = epoll_create1(0);
    if (server == 0) {
        for (int i = 0; i < clients; i++)
            watch(set, accept(listener, NULL, NULL));
        echo(set, size, until + 5);
        return 0;
    }
    char message[65536] = {0};
    int *fds = calloc((size_t) clients, sizeof *fds);
    for (int i = 0; i < clients; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        need(connect(fds[i], (struct sockaddr *) &address, length) == 0, "connect");
        watch(set, fds[i]);
    }
    for (int i = 0; i < clients; i++)
        need(send(fds[i], message, size, MSG_NOSIGNAL) == (ssize_t) size, "send");
    double began = now();
    long count = echo(set, size, began + seconds);
    printf("%.0f round trips a second\n", (double) count / (now() - began));
    for (int i = 0; i < clients; i++)
        shutdown(fds[i], SHUT_RDWR);
    waitpid(server, NULL, 0);
    return 0;
}
