/* fuzz_rules - any text as rules, and a few destinations looked up in what became of it. */
#include "fuzz.h"
#include "rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

enum { TEXT = 4400 };

const struct fuzz_seed fuzz_seeds[] = {FUZZ_TEXT("udp::53=none 10.0.0.0/8=bypass tcp::22=ondemand"),
                                       FUZZ_TEXT("[2001:db8::]/32=bypass"),
                                       FUZZ_TEXT("tcp::6379=ondemand+reconnect"),
                                       FUZZ_TEXT("tcp:[::ffff:192.0.2.0]/120:443=red,backup+mptcp"),
                                       FUZZ_TEXT("=background,large+fail"),
                                       FUZZ_TEXT("127.0.0.0/8=background"),
                                       FUZZ_TEXT(":80=bit40\n\tudp:=small"),
                                       FUZZ_TEXT("192.0.2.1/32:65535=wifi"),
                                       {NULL, 0}};

static void check_why(const char *why, size_t len) {
    FUZZ_CHECK(memchr(why, 0, len) && *why);
    for (; *why; why++)
        FUZZ_CHECK(*why >= 0x20 && *why < 0x7f);
}

static void check_rule(const struct rule *r) {
    FUZZ_CHECK(r->family == 0 || r->family == AF_INET || r->family == AF_INET6);
    FUZZ_CHECK(r->prefix <= (r->family == AF_INET ? 32 : r->family == AF_INET6 ? 128 : 0));
    FUZZ_CHECK(r->protocol == 0 || r->protocol == IPPROTO_TCP || r->protocol == IPPROTO_UDP);
    FUZZ_CHECK(r->policy <= RULES_POLICY_MPTCP && (r->labels & ~LABEL_KNOWN) == 0);
    FUZZ_CHECK(!r->bypass || (r->labels == 0 && r->policy == RULES_POLICY_DEFAULT));
}

/* A rule finds the destination it names, or an earlier one does. */
static void check_found(const struct rules *rules, size_t i) {
    const struct rule *r = &rules->rule[i];
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(r->port)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    memcpy(&in6.sin6_addr, r->address, 16);
    memcpy(&in.sin_addr, r->address, 4);
    const void *to = r->family == AF_INET6 ? (const void *)&in6 : (const void *)&in;
    const struct rule *found = rules_find(rules, r->protocol, to);
    int mapped = r->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr);
    FUZZ_CHECK(mapped || (found && found <= r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct rules rules;
    static struct label_names names = {{"backup"}};
    char text[TEXT];
    char why[200];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    rules.count = 0;
    int r = rules_add_all(&rules, text, &names, why, sizeof why);
    FUZZ_CHECK(r == 0 || r == -EINVAL ||
               (r == -E2BIG && rules.count == sizeof rules.rule / sizeof rules.rule[0]));
    if (r < 0)
        check_why(why, sizeof why);
    for (size_t i = 0; i < rules.count; i++) {
        check_rule(&rules.rule[i]);
        check_found(&rules, i);
    }
    rules_add(&rules, text, NULL, why, 1 + size % sizeof why);
    return 0;
}
