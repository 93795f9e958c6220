/* What the files of the options offer each other. Nothing else includes this. The options are their
 * owner's; where that is a socket, its lock is held. */
#ifndef ZM_SOCKET_OPTIONS_PRIVATE_H
#define ZM_SOCKET_OPTIONS_PRIVATE_H

#include "option_rows.h"
#include "options.h"

enum mechanism { MECHANISM_NULL = 0, MECHANISM_PLAIN = 1, MECHANISM_CURVE = 2 };

enum { KEY_BYTES = 32, KEY_CHARS = 40, TEXT_MAX = 255, NAME_MAX_BYTES = 255 };

/* options_table.c */
const option_row *zm_option_row_of(int option);
int zm_option_row_set(zm_options *options, const option_row *row, const void *value, size_t size);
int zm_option_answer_number(void *out, size_t *inout_size, int number);
int zm_option_answer_bytes(void *out, size_t *inout_size, const zm_bytes *bytes);
int zm_option_answer_text(void *out, size_t *inout_size, const zm_bytes *text);
int zm_option_row_get(const zm_options *options, const option_row *row, void *out,
                      size_t *inout_size);

/* options_values.c */
/* 1 makes this side a server of the mechanism; 0 takes security away, whichever it was. */
int zm_option_set_server(zm_options *options, int mechanism, const void *value, size_t size);
int zm_option_set_plain(zm_options *options, zm_bytes *place, const void *value, size_t size);
int zm_option_set_key(zm_options *options, uint8_t place[KEY_BYTES], const void *value,
                      size_t size);
int zm_option_set_secret(zm_options *options, const void *value, size_t size);
/* libzmq tells raw from Z85 by the room (32 or 41). Ours takes any other room from 40 for Z85, so
 * that pyzmq's reading of bytes, with 255 of them, works. */
int zm_option_get_key(const uint8_t key[KEY_BYTES], void *out, size_t *inout_size);
/* "X-name:value". The first value of a name stays. */
int zm_option_add_metadata(zm_options *options, const uint8_t *text, size_t size);
int zm_option_add_tcp_filter(zm_options *options, const void *value, size_t size);
int zm_option_add_ipc_filter(int32_t **ids, size_t *count, const void *value, size_t size);
int zm_option_set_device(zm_options *options, const void *value, size_t size);
/* Kept in tenths of a second, as the PING carries it. */
int zm_option_set_heartbeat_ttl(zm_options *options, const void *value, size_t size);

#endif
