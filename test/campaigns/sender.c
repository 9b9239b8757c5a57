/* sender PORT NUMBER PAUSE_US [AT_ONCE] - sends numbered lines for background traffic until its input ends,
 * each with a thunk that sends it again; so many may be under way at once. A subscriber under load, for the
 * campaigns; how many lines it has sent is said at the end. */
#include <errno.h>
#include <libcmm.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    int sock, number, under_way, at_once;
    pthread_mutex_t lock;
    pthread_cond_t changed;
} it = {.at_once = 1, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

__attribute__((noreturn)) static void fail(const char *what) {
    fprintf(stderr, "sender %d: %s: %s\n", it.number, what, strerror(errno));
    exit(1);
}

static void is_sent(void) {
    pthread_mutex_lock(&it.lock);
    it.under_way--;
    pthread_cond_signal(&it.changed);
    pthread_mutex_unlock(&it.lock);
}

static void send_line(void *arg) {
    char line[32];
    ssize_t len = snprintf(line, sizeof line, "%d %ld\n", it.number, (long)arg);
    ssize_t r = cmm_send(it.sock, line, (size_t)len, 0, CMM_LABEL_BACKGROUND, send_line, arg);
    if (r == len)
        is_sent();
    else if (r != CMM_DEFERRED && r != CMM_THUNK_EXECUTED)
        fail("cmm_send");
}

static void begin_one(int room) {
    pthread_mutex_lock(&it.lock);
    while (it.under_way >= room)
        pthread_cond_wait(&it.changed, &it.lock);
    it.under_way++;
    pthread_mutex_unlock(&it.lock);
}

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5)
        return 2;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(argv[1])),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    long sent = 0;
    it.number = atoi(argv[2]);
    it.at_once = argc > 4 ? atoi(argv[4]) : 1;
    it.sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    int r = cmm_connect(it.sock, (struct sockaddr *)&to, sizeof to, CMM_LABEL_BACKGROUND, NULL, NULL, NULL);
    if (r == CMM_FAILED)
        fail("cmm_connect");
    while (poll(&input, 1, 0) == 0) {
        begin_one(it.at_once);
        send_line((void *)++sent);
        usleep((useconds_t)atoi(argv[3]));
    }
    begin_one(1); /* behind the last */
    printf("%ld\n", sent);
    fflush(stdout);
    close(it.sock);
    return 0;
}
