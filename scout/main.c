/* main - cmm-scout's command line. Everything else begins in scout.c. */
#include "log.h"
#include "scout.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] = "Usage: cmm-scout [-c FILE] [--script FILE] [--name NAME] [--check] [-v]\n"
                           "Watches the networks and tells the programs that run with libcmm.\n"
                           "\n"
                           "  -c, --config FILE  instead of /etc/cmm/scout.conf (root's) or\n"
                           "                     ~/.config/cmm/scout.conf\n"
                           "      --script FILE  networks follow a timetable instead of the kernel\n"
                           "      --name NAME    where it listens: a name (scout) or a socket path\n"
                           "      --check        say what is wrong with them, and exit 0 or 1\n"
                           "  -v, --verbose      say more\n"
                           "  -h, --help, --version\n"
                           "\n"
                           "Runs in the foreground and logs to stderr. SIGHUP: reads the configuration\n"
                           "again; SIGTERM, SIGINT: ends. Exit: 0 ended as asked, 1 failed, 2 usage.\n"
                           "See cmm-scout(8) and cmm-scout.conf(5).\n";

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'}, {"script", required_argument, NULL, 's'},
    {"name", required_argument, NULL, 'n'},   {"check", no_argument, NULL, 'k'},
    {"verbose", no_argument, NULL, 'v'},      {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},      {0}};

/* A full disk is an answer that nobody got. */
static int say(const char *text) {
    if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
        return 0;
    perror("cmm-scout: cannot write");
    return 1;
}

int main(int argc, char **argv) {
    struct scout_options o = {.name = "scout"};
    bool check = false;
    int c;
    argv[0] = (char[]){"cmm-scout"}; /* as getopt's messages begin */
    log_init(LOG_INFORM);
    while ((c = getopt_long(argc, argv, "c:hv", options, NULL)) != -1)
        switch (c) {
        case 'c':
            o.config = optarg;
            break;
        case 's':
            o.script = optarg;
            break;
        case 'n':
            o.name = optarg;
            break;
        case 'k':
            check = true;
            break;
        case 'v':
            log_init(LOG_DETAIL);
            break;
        case 'h':
            return say(help);
        case 'V':
            return say("cmm-scout " CMM_VERSION "\n");
        default:
            return 2;
        }
    if (optind < argc) {
        fprintf(stderr, "cmm-scout: what is '%s'? See cmm-scout --help\n", argv[optind]);
        return 2;
    }
    return check ? scout_check(&o) : scout_run(&o);
}
