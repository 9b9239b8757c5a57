/* wifi - a table of networks with one in it, and what is seen of it; for the tests of network. */
#ifndef WIFI_H
#define WIFI_H

#include "network.h"

#include <check.h>
#include <errno.h>
#include <sys/socket.h>

static struct network_table t;
static struct wire_snapshot s;
static char ifaces[WIRE_NETWORKS][FACT_IFACE];
static struct fact_address addresses[4];
static struct fact_network wifi;
static bool link_there;
static int64_t now;

static inline struct fact_address four(uint8_t last) {
    return (struct fact_address){
        .family = AF_INET, .prefix = 24, .preferred = true, .bytes = {10, 0, 0, last}};
}

static inline struct fact_address six(uint8_t net) {
    return (struct fact_address){
        .family = AF_INET6, .prefix = 64, .preferred = true, .bytes = {0x20, 1, 0, net, [15] = 1}};
}

static inline void start_table(bool scripted) {
    network_init(&t, scripted, 1234, 5678);
    t.hold_ms = 500;
    t.grace_ms = 1000;
    now = 10000;
    link_there = true;
    addresses[0] = four(1);
    wifi = (struct fact_network){.name = "home",
                                 .iface = "wlan0",
                                 .ifindex = 3,
                                 .labels = 0x43f,
                                 .flags = WIRE_HAS4 | WIRE_EVER4 | WIRE_EVER6,
                                 .works = true,
                                 .address_count = 1,
                                 .addresses = addresses};
}

static inline void start(void) {
    start_table(false);
}

static inline bool present(void *arg, uint32_t ifindex) {
    return link_there;
}

static inline const struct wire_network *first(void) {
    network_fill(&t, &s, ifaces);
    return s.count ? &s.networks[0] : NULL;
}

/* One look at a world with the wifi in it. */
static inline const struct wire_network *look(bool at_once) {
    network_begin(&t);
    ck_assert_int_eq(network_see(&t, &wifi, at_once, now), 0);
    network_end(&t, present, NULL, now);
    return first();
}

static inline const struct wire_network *lose_link(void) {
    wifi.works = false;
    wifi.flags &= (uint8_t) ~(WIRE_HAS4 | WIRE_HAS6);
    return look(false);
}

static inline const struct wire_network *regain_link(void) {
    wifi.works = true;
    wifi.flags |= WIRE_HAS4;
    return look(false);
}

static inline const struct wire_network *after(int64_t ms) {
    now += ms;
    return look(false);
}

static inline const struct wire_network *wish(enum network_voice voice, const char *name,
                                              enum network_wish what) {
    ck_assert_int_eq(network_rule_wish(&t.rules, voice, name, what), 0);
    network_rejudge(&t, now);
    return first();
}

static struct fact_network cell;

/* The wifi, and another network behind it in the list. */
static inline void look_at_both(bool at_once) {
    cell = wifi;
    strcpy(cell.name, "cell");
    strcpy(cell.iface, "wwan0");
    cell.ifindex = 4;
    network_begin(&t);
    ck_assert_int_eq(network_see(&t, &wifi, at_once, now), 0);
    ck_assert_int_eq(network_see(&t, &cell, at_once, now), 0);
    network_end(&t, present, NULL, now);
}

static inline uint64_t id_of_cell(void) {
    network_fill(&t, &s, ifaces);
    return s.networks[s.count - 1].id;
}

#endif
