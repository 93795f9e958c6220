/* tools/wheels.py: the C face of a wheel, where there is no Python for its machine. A REQ and a REP
 * over tcp, as they are and with CURVE; exits with the line that went wrong. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "zmq.h"

#define NEED(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "check.c:%d: %s: %s\n", __LINE__, #condition, \
                    zmq_strerror(zmq_errno())); \
            return __LINE__ & 0x7f; \
        } \
    } while (0)

static int round_trip(void *context, int curve)
{
    char endpoint[256], body[8], public_key[41], secret_key[41];
    size_t size = sizeof endpoint;
    int yes = 1, patience = 600000;
    void *rep = zmq_socket(context, ZMQ_REP), *req = zmq_socket(context, ZMQ_REQ);
    NEED(rep && req);
    zmq_setsockopt(rep, ZMQ_RCVTIMEO, &patience, sizeof patience);
    zmq_setsockopt(req, ZMQ_RCVTIMEO, &patience, sizeof patience);
    if (curve) {
        NEED(zmq_has("curve") == 1);
        NEED(zmq_curve_keypair(public_key, secret_key) == 0);
        NEED(zmq_setsockopt(rep, ZMQ_CURVE_SERVER, &yes, sizeof yes) == 0);
        NEED(zmq_setsockopt(rep, ZMQ_CURVE_SECRETKEY, secret_key, 41) == 0);
        NEED(zmq_setsockopt(req, ZMQ_CURVE_SERVERKEY, public_key, 41) == 0);
        NEED(zmq_setsockopt(req, ZMQ_CURVE_PUBLICKEY, public_key, 41) == 0);
        NEED(zmq_setsockopt(req, ZMQ_CURVE_SECRETKEY, secret_key, 41) == 0);
    }
    NEED(zmq_bind(rep, "tcp://127.0.0.1:*") == 0);
    NEED(zmq_getsockopt(rep, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0);
    NEED(zmq_connect(req, endpoint) == 0);
    for (int i = 0; i < 100; i++) {
        NEED(zmq_send(req, "asked", 5, 0) == 5);
        NEED(zmq_recv(rep, body, sizeof body, 0) == 5 && !memcmp(body, "asked", 5));
        NEED(zmq_send(rep, "said", 4, 0) == 4);
        NEED(zmq_recv(req, body, sizeof body, 0) == 4 && !memcmp(body, "said", 4));
    }
    NEED(zmq_close(req) == 0 && zmq_close(rep) == 0);
    return 0;
}

int main(void)
{
    void *context = zmq_ctx_new();
    NEED(context);
    int wrong = round_trip(context, 0);
    wrong = wrong ? wrong : round_trip(context, 1);
    NEED(zmq_ctx_term(context) == 0);
    return wrong;
}
