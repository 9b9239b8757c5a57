/* machine - what the scout has to know of the machine it runs on, once at the start, and its clocks. */
#include "machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t mix(uint64_t h, const void *data, size_t len) {
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t machine_namespace(void) {
    struct stat st;
    return stat("/proc/self/ns/net", &st) == 0 ? st.st_ino : 0;
}

uint64_t machine_seed(void) {
    char boot[64] = "";
    const uint64_t namespace = machine_namespace();
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f && !fgets(boot, sizeof boot, f))
        boot[0] = 0;
    if (f)
        fclose(f);
    return mix(mix(UINT64_C(0xcbf29ce484222325), boot, strlen(boot)), &namespace, sizeof namespace);
}

uint64_t machine_random(void) {
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = machine_wall_ms();
    return random;
}

static void raise_limit(int what) {
    struct rlimit l;
    if (getrlimit(what, &l) < 0)
        return;
    l.rlim_cur = l.rlim_max;
    setrlimit(what, &l);
    if (what == RLIMIT_MSGQUEUE && geteuid() == 0) {
        l.rlim_cur = l.rlim_max = RLIM_INFINITY;
        setrlimit(what, &l);
    }
}

void machine_raise_limits(void) {
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_MSGQUEUE);
}

static uint64_t clock_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int64_t machine_now_ms(void) {
    return (int64_t)clock_ms(CLOCK_MONOTONIC);
}

uint64_t machine_wall_ms(void) {
    return clock_ms(CLOCK_REALTIME);
}
