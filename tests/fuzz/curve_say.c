#include "curve_say.h"

#include <string.h>

enum {
    AS_THEY_ARE,
    FRAME,
    NEXT,
    FIRST,
    SECOND,
    MESSAGE,
    LEAP,
    LARGE, /* steps */
    PROPERTIES_MAX = 64,
    LARGER = 8,
};

/* The peer hears what the session said in the handshake. */
static void listen(curve_talk *c)
{
    const uint8_t *body;
    unsigned flags;
    size_t size;
    while (!c->t.ready && (body = talk_hear(&c->t, &c->heard, &flags, &size)))
        curve_peer_take(&c->peer, body, size);
    /* READY comes with the event, and so before the first MESSAGE. */
    if (c->t.ready && !c->peer.is_server && c->heard && !c->peer.heard_counter
        && (body = talk_hear(&c->t, &c->heard, &flags, &size)))
        curve_peer_take(&c->peer, body, size);
}

void curve_begin(curve_talk *c, setup *how)
{
    uint8_t greeting[GREETING_SIZE];
    c->heard = 0;
    curve_peer_begin(&c->peer, how);
    talk_begin(&c->t, how);
    greet(greeting, "CURVE", 1);
    talk_say(&c->t, greeting, sizeof greeting);
    listen(c);
}

static bool say(curve_talk *c, unsigned flags)
{
    bool said = say_frame(&c->t, flags, c->peer.body, c->peer.size);
    listen(c);
    return said;
}

static void first(curve_peer *peer)
{
    if (peer->is_server)
        curve_peer_welcome(peer);
    else
        curve_peer_hello(peer);
}

static void second(curve_peer *peer, const uint8_t *properties, size_t size)
{
    if (peer->is_server)
        curve_peer_ready(peer, properties, size);
    else
        curve_peer_initiate(peer, properties, size);
}

void curve_shake_hands(curve_talk *c)
{
    uint8_t properties[PROPERTIES_MAX] = "\13Socket-Type";
    const char *type = peer_type(c->t.how->config.socket_type);
    size_t size = 12;
    properties[size + 3] = (uint8_t) strlen(type);
    memcpy(properties + size + 4, type, strlen(type));
    size += 4 + strlen(type);
    first(&c->peer);
    say(c, ZM_FRAME_COMMAND);
    second(&c->peer, properties, size);
    say(c, ZM_FRAME_COMMAND);
}

static void read_mistake(mistake *wrong, input *in, uint8_t step)
{
    *wrong = (mistake){.wrong_key = step & 0x40};
    if (step & 0x08) {
        wrong->text_at = (uint16_t) (take(in) << 8);
        wrong->text_at = (uint16_t) (wrong->text_at | take(in));
        wrong->text_xor = take(in);
    }
    if (step & 0x10) {
        wrong->body_at = (uint16_t) (take(in) << 8);
        wrong->body_at = (uint16_t) (wrong->body_at | take(in));
        wrong->body_xor = take(in);
    }
    if (step & 0x20)
        wrong->resize = (int8_t) take(in);
}

static void make_message(curve_peer *peer, input *in, int kind)
{
    uint8_t large[255 * LARGER];
    size_t size;
    if (kind == LEAP)
        peer->counter += (uint64_t) (int64_t) (int8_t) take(in);
    uint8_t flags = take(in), wanted = take(in);
    const uint8_t *text = take_some(in, wanted, &size);
    if (kind == LARGE) {
        for (int i = 0; i < LARGER; i++)
            memcpy(large + (size_t) i * size, text, size);
        text = large;
        size *= LARGER;
    }
    curve_peer_message(peer, flags, text, size);
}

static bool say_step(curve_talk *c, input *in)
{
    uint8_t step = take(in), size_wanted;
    int kind = step & 7;
    unsigned flags = kind < MESSAGE ? ZM_FRAME_COMMAND : 0;
    const uint8_t *bytes;
    size_t size;
    if (kind == FRAME || step & 0x80)
        flags = take(in);
    read_mistake(&c->peer.wrong, in, step);
    if (kind == NEXT)
        kind = c->t.ready ? MESSAGE : c->peer.size && c->peer.knows ? SECOND : FIRST;
    switch (kind) {
    case AS_THEY_ARE:
    case FRAME:
        size_wanted = take(in);
        bytes = take_some(in, size_wanted, &size);
        return kind == FRAME ? say_frame(&c->t, flags, bytes, size) : talk_say(&c->t, bytes, size);
    case FIRST:
        first(&c->peer);
        break;
    case SECOND:
        size_wanted = take(in);
        bytes = take_some(in, size_wanted, &size);
        second(&c->peer, bytes, size);
        break;
    default:
        make_message(&c->peer, in, kind);
    }
    return say(c, flags);
}

void curve_say(curve_talk *c, input *in)
{
    while (in->at < in->end && say_step(c, in))
        ;
}

/* What the session says after the handshake opens with the keys that were agreed on, in order. */
void curve_end(curve_talk *c)
{
    static uint8_t sent[SENT_MAX];
    unsigned pongs = 0, frame_flags;
    uint8_t flags, *text;
    const uint8_t *body;
    size_t size;
    bool ready = c->t.ready;
    unsigned pings = c->t.out.pings;
    memcpy(sent, c->t.out.sent, c->t.out.sent_size);
    while (ready && (body = talk_hear(&c->t, &c->heard, &frame_flags, &size))) {
        text = curve_peer_open(&c->peer, sent + (body - c->t.out.sent), size, &flags, &size);
        REQUIRE(flags == 2 && size >= 5 && memcmp(text, "\4PONG", 5) == 0);
        pongs++;
    }
    REQUIRE(pongs == pings);
    if (c->t.session.phase == ZM_ACTIVE) {
        static const uint8_t said[] = "in confidence";
        uint8_t frame[128];
        size = zm_session_frame(&c->t.session, frame, ZM_FRAME_MORE, said, sizeof said);
        REQUIRE(size == 2 + 33 + sizeof said && frame[0] == 0 && frame[1] == size - 2);
        text = curve_peer_open(&c->peer, frame + 2, size - 2, &flags, &size);
        REQUIRE(flags == 1 && size == sizeof said && memcmp(text, said, size) == 0);
    }
    talk_end(&c->t);
}
