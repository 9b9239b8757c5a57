/* ctl_print - what the scout said, for people: tables of at most 80 columns; and for programs: JSON. */
#ifndef CMM_CTL_PRINT_H
#define CMM_CTL_PRINT_H

#include "ctl_client.h"
#include <stdbool.h>
#include <stdio.h>

/* text as it may be shown on a terminal: anything but printable ASCII, and the backslash, as \xNN. */
void ctl_escape(const char *text, char *buf, size_t len);

/* "3 s", "5 min", "2 h", "4 d". */
void ctl_age(uint64_t since_ms, uint64_t now_ms, char *buf, size_t len);

/* CLOCK_REALTIME in ms, as since_ms in reports. */
uint64_t ctl_now(void);

/* Every label one waits for, and since when the oldest has waited (0: waits for nothing). */
uint64_t ctl_wants(const struct wire_subscriber *s, uint64_t *ret_since_ms);

/* What it left alone, a line each: "left alone: route by tun0". */
void ctl_print_left(const struct wire_subscriber *s, int indent);

/* The network at that place as it is to be called: of several of one name, NAME@IFACE. Escaped. */
void ctl_name(const struct ctl_networks *all, uint32_t at, char *buf, size_t len);

void ctl_print_status(const struct ctl_view *v);
void ctl_print_labels(const struct ctl_view *v);
void ctl_print_networks(const struct ctl_view *v);
void ctl_print_subscribers(const struct ctl_view *v);

/* One object with the parts (CTL_...), and a newline. */
void ctl_json(const struct ctl_view *v, unsigned parts);
/* One event, on one line. */
void ctl_json_event(const struct wire_event *e);

#endif
