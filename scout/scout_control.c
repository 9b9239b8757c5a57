/* scout_control - what people tell the scout: configuration, script, cmm-ctl.
 *
 * Mistakes are told where they were made, and a configuration with one changes nothing. Who may ask is
 * settled in subscribers.
 */
#include "scout_context.h"

#include "config.h"
#include "log.h"
#include "machine.h"
#include "notify.h"
#include "policy.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct reading {
    bool logged;
    char *first; /* the first mistake is kept for who asked, WIRE_TEXT bytes */
};

/* Mistakes in files begin with the file, as compilers say it; in the journal with the level. */
static void say_mistake(void *arg, const char *file, unsigned line, const char *text) {
    const struct reading *r = arg;
    if (r && !r->first[0] && line)
        snprintf(r->first, WIRE_TEXT, "%s:%u: %s", file, line, text);
    if (line == 0)
        log_say(LOG_ERROR, "%s: %s", file, text);
    else if (r && r->logged)
        log_say(LOG_ERROR, "%s:%u: %s", file, line, text);
    else
        fprintf(stderr, "%s:%u: %s\n", file, line, text);
}

void scout_find_config(const struct scout_options *o, char ret[CONFIG_PATH]) {
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
    if (o->config)
        snprintf(ret, CONFIG_PATH, "%s", o->config);
    else if (geteuid() == 0)
        snprintf(ret, CONFIG_PATH, "/etc/cmm/scout.conf");
    else if (xdg && xdg[0] == '/')
        snprintf(ret, CONFIG_PATH, "%s/cmm/scout.conf", xdg);
    else
        snprintf(ret, CONFIG_PATH, "%s/.config/cmm/scout.conf", home ? home : "");
}

static bool script_may_drive(void *arg, const char *network) {
    struct scout *s = arg;
    return s->settings.network_count ? policy_knows(&s->settings, network)
                                     : network_known(&s->networks, network);
}

static void say_script_mistake(void *arg, const char *file, unsigned line, const char *text) {
    say_mistake(NULL, file, line, text);
}

int scout_load_script(struct scout *s) {
    struct script_reader reader = {&s->settings.names, script_may_drive, say_script_mistake, s};
    return script_load(s->options->script, &reader, &s->script);
}

static void mention_unknown_preferences(const struct settings *s) {
    char label[LABEL_NAME];
    for (unsigned i = 0; i < s->pref_count; i++)
        for (unsigned k = 0; k < s->prefs[i].count; k++)
            if (s->network_count && !policy_knows(s, s->prefs[i].order[k])) {
                label_format(UINT64_C(1) << s->prefs[i].bit, &s->names, label, sizeof label);
                log_say(LOG_WARNING, "label %s prefers '%s', which the configuration does not list", label,
                        s->prefs[i].order[k]);
            }
}

bool scout_adopt_config(struct scout *s, bool logged) {
    struct settings *fresh = malloc(sizeof *fresh);
    struct reading reading = {.logged = logged, .first = s->mistake};
    s->mistake[0] = 0;
    int r =
        fresh ? config_load(s->config, s->options->config != NULL, fresh, say_mistake, &reading) : -ENOMEM;
    if (r == 0) {
        s->settings = *fresh;
        mention_unknown_preferences(fresh);
        s->networks.hold_ms = fresh->hold_ms;
        s->networks.grace_ms = fresh->grace_ms;
        if (s->subscribers)
            subscribers_names(s->subscribers, &s->settings.names);
    }
    free(fresh);
    if (r == -ENOMEM)
        log_say(LOG_ERROR, "out of memory");
    return r == 0;
}

bool scout_reload(struct scout *s) {
    char state[64];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, machine_now_ms() * 1000);
    notify_say(state);
    bool good = scout_adopt_config(s, true);
    if (good) {
        log_say(LOG_INFORM, "configuration read again");
        scout_look(s, true);
        scout_publish(s);
    } else {
        log_say(LOG_ERROR, "the configuration has mistakes; the old one stays");
    }
    notify_say("READY=1");
    return good;
}

static bool is_network(const struct scout *s, const char *name) {
    return network_known(&s->networks, name) || (!strchr(name, '@') && policy_knows(&s->settings, name));
}

static int refuse_name(const char *name, char *ret_text, size_t len) {
    snprintf(ret_text, len, "unknown network '%s'", name);
    for (char *p = ret_text; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    return ENOENT;
}

/* As if cmm-ctl had never spoken of it. */
static int give_back(struct network_rules *rules, const char *name) {
    int r = network_rule_wish(rules, NETWORK_CTL, name, NETWORK_AUTO);
    r = r < 0 ? r : network_rule_labels(rules, NETWORK_CTL, name, NULL);
    return r < 0 ? r : network_rule_metered(rules, name, WIRE_METERED_AUTO);
}

static int adopt_rules(struct scout *s, int r, char *ret_text, size_t len) {
    if (r < 0) {
        snprintf(ret_text, len, "too many overrides");
        return ENOSPC;
    }
    network_rejudge(&s->networks, machine_now_ms());
    scout_publish(s);
    return 0;
}

static int override(struct scout *s, const struct wire_set *m, char *ret_text, size_t len) {
    struct network_rules *rules = &s->networks.rules;
    enum network_wish wish = m->action == WIRE_SET_UP ? NETWORK_UP : NETWORK_DOWN;
    if (!is_network(s, m->network))
        return refuse_name(m->network, ret_text, len);
    int r = m->action == WIRE_SET_AUTO ? give_back(rules, m->network)
                                       : network_rule_wish(rules, NETWORK_CTL, m->network, wish);
    return adopt_rules(s, r, ret_text, len);
}

int scout_on_policy(void *arg, const struct wire_policy *m, char *ret_text, size_t len) {
    struct scout *s = arg;
    struct network_rules *rules = &s->networks.rules;
    int r = 0;
    if (!is_network(s, m->network))
        return refuse_name(m->network, ret_text, len);
    if (m->fields & WIRE_SET_METERED)
        r = network_rule_metered(rules, m->network, (enum wire_metered)m->metered);
    if (r == 0 && m->fields & (WIRE_SET_LABELS | WIRE_SET_LABELS_AUTO))
        r = network_rule_labels(rules, NETWORK_CTL, m->network,
                                m->fields & WIRE_SET_LABELS ? &m->labels : NULL);
    return adopt_rules(s, r, ret_text, len);
}

int scout_on_set(void *arg, const struct wire_set *m, char *ret_text, size_t len) {
    struct scout *s = arg;
    switch (m->action) { /* a release is the subscribers' own affair */
    case WIRE_SET_UP:
    case WIRE_SET_DOWN:
    case WIRE_SET_AUTO:
        return override(s, m, ret_text, len);
    case WIRE_SET_RELOAD:
        if (scout_reload(s))
            return 0;
        if (s->mistake[0])
            snprintf(ret_text, len, "%s", s->mistake);
        else
            snprintf(ret_text, len, "%.90s cannot be read; the old policy stays", s->config);
        return EINVAL;
    default:
        snprintf(ret_text, len, "this scout does not know that action");
        return EINVAL;
    }
}

void scout_on_untold(void *arg, unsigned from, struct wire_snapshot *ret) {
    network_untold(&((struct scout *)arg)->networks, from, ret);
}

void scout_on_status(void *arg, struct wire_status *ret) {
    struct scout *s = arg;
    ret->started_ms = s->started_ms;
    ret->generation = s->told.snapshot.generation;
    ret->pid = (uint32_t)getpid();
    ret->scripted = s->options->script != NULL;
    ret->multipath = multipath_who(&s->multipath.eyes, &ret->endpoints);
    snprintf(ret->name, sizeof ret->name, "%s", s->options->name);
    snprintf(ret->release, sizeof ret->release, "%s", CMM_VERSION);
    snprintf(ret->config, sizeof ret->config, "%.*s", WIRE_TEXT - 1,
             access(s->config, F_OK) == 0 ? s->config : "");
}
