/* shim - the one struct, and how a process begins, forks and ends with us.
 * The constructor runs before main: it learns whether the program was preloaded or linked, reads the
 * environment and, in linked programs, starts listening. In preloaded ones nothing of ours happens before the
 * first socket that needs it. Under AT_SECURE the CMM_* variables are not looked at. Deliberately absent:
 * exits, aborts and uninvited output, whatever fails. */
#include "shim.h"
#include "adopt.h"
#include "datagram.h"
#include "duration.h"
#include "holder.h"
#include "last.h"
#include "lift.h"
#include "link.h"
#include "log.h"
#include "run.h"
#include "scout_link.h"

#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SHIM_SONAME
#define SHIM_SONAME "libcmm_preload.so.1"
#endif

enum { END_MS = 100 }; /* the longest wait for a thread of ours at the end */

__attribute__((section(".bss.y_shim"))) struct shim shim;

/* ---- preloaded, linked or loaded later ---- */

static bool needs_us(const struct link_map *map) {
    const char *strings = NULL;
    for (const ElfW(Dyn) *d = map->l_ld; d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_STRTAB)
            strings = (const char *)d->d_un.d_ptr;
    for (const ElfW(Dyn) *d = map->l_ld; strings && d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_NEEDED && strcmp(strings + d->d_un.d_val, SHIM_SONAME) == 0)
            return true;
    return false;
}

/* A name without a slash is searched for, and found under that name in some directory. */
static bool names(const char *item, size_t len, const char *path) {
    const char *base = strrchr(path, '/');
    if (!memchr(item, '/', len) && base)
        path = base + 1;
    return strlen(path) == len && memcmp(item, path, len) == 0;
}

static bool named_in(const char *list, const char *path) {
    for (const char *at = list; *at; at += strcspn(at, ": ")) {
        at += strspn(at, ": ");
        if (names(at, strcspn(at, ": "), path))
            return true;
    }
    return false;
}

/* Its symbols come first, yet nothing needs it: it was preloaded. If something needs it too, the loader's own
 * list says whether it was preloaded as well, by the very name it was loaded by: a variable alone proves
 * nothing. */
static bool was_preloaded(void) {
    const struct link_map *us = real_us();
    const char *list = getenv("LD_PRELOAD");
    if (!us || !real_first())
        return false; /* loaded by dlopen: libc's names are libc's */
    for (const struct link_map *map = us; map; map = map->l_prev)
        if (needs_us(map))
            return list && named_in(list, us->l_name);
    for (const struct link_map *map = us->l_next; map; map = map->l_next)
        if (needs_us(map))
            return list && named_in(list, us->l_name);
    return true;
}

/* ---- the environment ---- */

/* The built-in names need nobody: the scout is asked only where they do not do. While it is away, what it
 * told cmm-run holds for all that was started by it. */
static const struct label_names *names_asked(void) {
    const char *told = getenv("CMM_NAMES");
    if (!shim.names_known)
        shim.names_known = scout_link_labels(shim.scout, &shim.names) == 0;
    if (!shim.names_known && told) {
        label_names_parse(told, &shim.names);
        shim.names_known = true;
    }
    return shim.names_known ? &shim.names : NULL;
}

static void read_labels(const char *text) {
    char bad[LABEL_NAME];
    uint64_t labels = 0;
    int r = label_parse(text, NULL, &labels, bad);
    if (r < 0)
        r = label_parse(text, names_asked(), &labels, bad);
    if (r < 0) {
        shim.labels_bad = true;
        log_say(LOG_ERROR, "unknown label '%s' in CMM_LABELS", bad);
    }
    atomic_store(&shim.default_labels, labels);
}

static void read_rules(const char *text) {
    char why[128];
    int r = rules_add_all(&shim.rules, text, NULL, why, sizeof why);
    if (r < 0) {
        shim.rules.count = 0;
        r = rules_add_all(&shim.rules, text, names_asked(), why, sizeof why);
    }
    if (r < 0)
        log_say(LOG_ERROR, "CMM_RULES: %s", why);
    for (size_t i = 0; i < shim.rules.count; i++)
        shim.asked |= shim.rules.rule[i].labels != 0 || rules_beyond_failing(shim.rules.rule[i].policy);
}

static void read_patience(const char *text) {
    const int r = duration_parse(text, &shim.patience);
    if (r < 0)
        log_say(LOG_ERROR, "CMM_PATIENCE: '%s' is no duration (90, 5m, 2h, forever)", text);
    else
        shim.patient = r == 0;
}

static void read_on_loss(const char *text) {
    int policy = rules_policy(text);
    if (policy < 0)
        log_say(LOG_ERROR, "CMM_ON_LOSS: '%s' is none of fail, reconnect, mptcp", text);
    else
        shim.on_loss = (enum rules_policy)policy;
    shim.asked |= rules_beyond_failing(policy);
}

/* A copy: a program may write over its environment, as those do that show in ps what they are about. */
static void read_scout(const char *name) {
    static __attribute__((section(".bss.z_large"))) char kept[PATH_MAX];
    if (!name)
        return;
    snprintf(kept, sizeof kept, "%s", name);
    shim.scout = kept;
}

static void read_environment(void) {
    const char *value;
    log_configure(getenv("CMM_LOG"));
    read_scout(getenv("CMM_SCOUT"));
    if (!shim.preloaded)
        return;
    if ((value = getenv("CMM_LABELS")) && *value)
        read_labels(value);
    if ((value = getenv("CMM_RULES")) && *value)
        read_rules(value);
    if ((value = getenv("CMM_PATIENCE")) && *value)
        read_patience(value);
    if ((value = getenv("CMM_ON_LOSS")) && *value)
        read_on_loss(value);
}

/* What it does with a connection is not ours to guess: bound to a network, its proxy may be out of reach. */
static void make_way(void) {
    const char *taker = real_behind();
    if (!taker)
        return;
    atomic_store(&shim.default_labels, 0);
    shim.rules.count = 0;
    shim.asked = shim.labels_bad = false;
    shim.left_to = taker;
}

/* ---- the main thread ---- */

static pthread_key_t leader_key;

/* Not at exit(): it ends, and others may go on. */
static void leader_left(void *unused) {
    (void)unused;
    const pid_t thread = (pid_t)real_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
    if (thread != getpid() || (shim.owner > 0 && getpid() != shim.owner))
        return; /* loaded by another thread, or not our process */
    lock_take();
    last_leader_left();
    link_kick();
    lock_drop();
}

static void know_leader(void) {
    pthread_setspecific(leader_key, &shim);
}

/* ---- fork ---- */

static void before_fork(void) {
    self.forks_within = self.holding;
    if (!self.forks_within)
        lock_take();
    if (sock_first())
        self_prepare_rouse();
}

static void in_parent(void) {
    holder_forked();
    for (struct sock *s = sock_first(); s; s = s->next) {
        s->shared = true;
        atomic_store(&s->clear, WAY_SHUT);
        atomic_store(&s->direct, WAY_SHUT);
    }
    if (!self.forks_within)
        lock_drop();
}

/* The child's copy remains a socket of ours, without thunks; what was under way goes on in the parent. A
 * handler that has forked is not back yet here, either. */
static void inherit(struct sock *s) {
    const struct frame *within = self_frame(s);
    s->shared = true;
    s->waiters.first = NULL;
    s->in_handler = within && within->hidden >= 0;
    s->user_depth = s->in_handler;
    s->in_thunk = s->in_round = s->queued = false;
    s->unsent = 0;
    s->attempt++;
    for (unsigned i = 0; i < s->nwatches; i++)
        s->watches[i].parents = true;
    thunk_free_list(thunk_take_all(&s->thunks, NULL));
    atomic_store(&s->clear, WAY_SHUT);
    atomic_store(&s->direct, WAY_SHUT);
    lift_drop(&s->hidden);
    s->lent = -1;
    if (!sock_stream(s))
        datagram_forked(s);
    if (life_attempting(s->state))
        sock_turn(s, LIFE_ABSENT);
    else if (s->state == LIFE_MOVING)
        sock_turn(s, LIFE_DRAINED);
}

/* Forked by a signal handler that has interrupted whoever holds the lock or waits for it: nobody knows in
 * what state things are. All doors of the child and of its children lead to libc. */
static void in_child_within(void) {
    shim.owner = -1;
    lock_forked();
    self_forked();
    link_forked();
}

static void in_child(void) {
    if (self.forks_within) {
        in_child_within();
        return;
    }
    shim.owner = shim.owner > 0 ? getpid() : shim.owner;
    self_forked();
    wait_forked();
    holder_forked();
    link_forked();
    last_forked();
    run_forked();
    shim.lookups.first = NULL;
    memset(shim.left, 0, sizeof shim.left);
    for (struct sock *s = sock_first(); s; s = s->next)
        inherit(s);
    lock_drop();
    know_leader();
}

/* ---- the end ---- */

/* Nothing of ours is left behind: the scout hears the end at once, and whoever counts memory finds none lost.
 * The program's end does not depend on it. */
__attribute__((destructor)) static void end(void) {
    if (!shim.owner || self.holding || getpid() != shim.owner)
        return;
    link_rest(END_MS);
    run_finish(END_MS);
}

__attribute__((constructor)) static void begin(void) {
    shim.patient = true;
    shim.preloaded = was_preloaded();
    if (!getauxval(AT_SECURE))
        read_environment();
    if (shim.preloaded && shim_wants())
        make_way();
    if (!shim.preloaded || shim_wants())
        shim_claim();
    if (shim.preloaded && shim_wants())
        keep_remember(&shim.keep, real_us() ? real_us()->l_name : NULL, environ);
    pthread_atfork(before_fork, in_parent, in_child);
    if (pthread_key_create(&leader_key, leader_left) == 0)
        know_leader();
    if (shim.preloaded && shim_wants() && getenv("CMM_HELD"))
        adopt_all();
    if (!shim.preloaded) {
        real_init();
        self_prepare();
        link_start();
    }
}
