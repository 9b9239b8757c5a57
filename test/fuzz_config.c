/* fuzz_config - any bytes as a configuration and as a timetable: mistakes are told, nothing else happens. */
#include "config.h"
#include "fuzz.h"
#include "policy.h"
#include "script.h"
#include "script_chance.h"

const struct fuzz_seed fuzz_seeds[] = {
    FUZZ_TEXT("[label b]\nbit = 32\nprefer = home, lab@x\n[network home]\nmatch = wl*\nssid = \"a # b\"\n"),
    FUZZ_TEXT(
        "[network lab]\naddress = 127.0.1.1/8\nlabels = all, b\ntype = wifi\n[scout]\ngrace = 1.5 # s\n"),
    FUZZ_TEXT("[network x]\nmatch = *\nmetered = auto\nmetric = 100\ncheck = [2001:db8::1]:443\n"),
    FUZZ_TEXT("0 up lab\n2.5 down lab\n4 labels lab ondemand,small\n10 loop\n"),
    FUZZ_TEXT("cdf lab /nonexistent/a /nonexistent/b 7\n1 exit\n"),
    FUZZ_TEXT("0 0\n1.5 50\n7 100\n"),
    {NULL, 0}};

static void hear(void *arg, const char *file, unsigned line, const char *text) {
    (*(unsigned *)arg)++;
    FUZZ_CHECK(*file && *text);
    for (; *text; text++)
        FUZZ_CHECK(*text >= ' ' && *text <= '~');
}

static bool knows(void *arg, const char *network) {
    return strchr(network, 'l') != NULL;
}

static void as_config(FILE *f) {
    static struct settings s;
    struct fact_link link = {.ifindex = 2, .type = FACT_WIFI, .name = "wlan0"};
    struct fact_network n;
    unsigned told = 0;
    config_defaults(&s);
    struct config *c = config_new(&s, hear, &told);
    config_read(c, f, "f");
    unsigned mistakes = config_finish(c);
    FUZZ_CHECK(mistakes == told);
    FUZZ_CHECK(s.network_count <= SETTINGS_NETWORKS && s.pref_count <= SETTINGS_PREFS);
    for (unsigned i = 0; i < s.network_count; i++) {
        FUZZ_CHECK(memchr(s.networks[i].name, 0, WIRE_NAME) && s.networks[i].name[0]);
        policy_address(&s, i, true, 1, &n);
    }
    policy_link(&s, &link, &n);
}

static void as_script(FILE *f) {
    unsigned told = 0;
    struct label_names names = {.name = {"b"}};
    struct script_reader reader = {&names, knows, hear, &told};
    struct script *s = NULL;
    struct script_action a;
    int r = script_read(f, "f", &reader, &s);
    FUZZ_CHECK((r == 0) == (told == 0));
    if (r < 0)
        return;
    for (int i = 0; i < 100; i++) {
        int64_t due = script_deadline(s);
        FUZZ_CHECK(due < 0 ? script_take(s, INT32_MAX, &a) == 0 : script_take(s, due, &a) >= 0);
    }
    script_free(s);
}

static void as_chance(FILE *f) {
    struct script_chance c;
    unsigned line;
    const char *why;
    uint64_t state = 1;
    if (script_chance_read(f, &c, &line, &why) < 0) {
        FUZZ_CHECK(why != NULL);
        return;
    }
    for (int i = 0; i < 10; i++)
        FUZZ_CHECK(script_chance_draw(&c, &state) >= 1);
    script_chance_finish(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    void (*const readers[])(FILE *) = {as_config, as_script, as_chance};
    for (int i = 0; size && i < 3; i++) {
        FILE *f = fmemopen((void *)(uintptr_t)data, size, "r");
        if (!f)
            return 0;
        readers[i](f);
        fclose(f);
    }
    return 0;
}
