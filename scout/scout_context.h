/* scout_context - the daemon's one context, and what its three files do with it. Only scout*.c comes in. */
#ifndef CMM_SCOUT_CONTEXT_H
#define CMM_SCOUT_CONTEXT_H

#include "herald.h"
#include "listener.h"
#include "monitor.h"
#include "multipath_hand.h"
#include "network.h"
#include "probe.h"
#include "scout.h"
#include "script.h"
#include "settings.h"
#include "subscribers.h"

enum { CONFIG_PATH = 4096 };

struct scout {
    const struct scout_options *options;
    char config[CONFIG_PATH];
    char mistake[WIRE_TEXT]; /* the first of the last reading; empty: none */
    struct settings settings;
    struct network_table networks;
    struct monitor *monitor; /* NULL: no netlink here */
    struct probe_table probes;
    struct multipath_hand multipath;
    struct script *script;
    struct listener listener;
    struct subscribers *subscribers; /* NULL: not listening yet */
    struct herald_view told;
    int epoll, signals;
    bool ending,
        crowded; /* crowded: it has been said that there are more networks than programs are told of */
    int64_t script_start;
    int64_t paths_due; /* when the paths of young networks are looked at again; -1: none is young */
    uint64_t started_ms;
};

/* scout_flow: from facts to the table (at_once: not the kernel brought the news), from the table to the
 * subscribers if anything has changed, and what is due of the script. */
void scout_look(struct scout *s, bool at_once);
void scout_publish(struct scout *s);
void scout_play(struct scout *s);

/* scout_control: configuration and script read, mistakes told; what cmm-ctl asks. */
void scout_find_config(const struct scout_options *o, char ret[CONFIG_PATH]);
bool scout_adopt_config(struct scout *s, bool logged);
int scout_load_script(struct scout *s);
bool scout_reload(struct scout *s);
int scout_on_set(void *arg, const struct wire_set *m, char *ret_text, size_t len);
int scout_on_policy(void *arg, const struct wire_policy *m, char *ret_text, size_t len);
void scout_on_untold(void *arg, unsigned from, struct wire_snapshot *ret);
void scout_on_status(void *arg, struct wire_status *ret);

#endif
