/* messages - a program that says what its messages are: the smallest useful one with thunks.
 *
 * `messages ADDRESS PORT` reads lines "LABELS TEXT" and sends each text with its labels over one connection.
 * What no network takes now is left with libcmm, and goes when one does; the program ends when everything is
 * sent. tools/demo runs it. main sends, and libcmm's working thread runs the thunks: only the count is
 * shared.
 */
#include <libcmm.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct message {
    mc_socket_t sock;
    unsigned long labels;
    char text[];
};

static sem_t done; /* posted once a message */

/* Also the thunk: a message that was deferred is simply posted again. */
static void post(void *arg) {
    struct message *m = arg;
    struct cmm_network by;
    ssize_t r = cmm_send(m->sock, m->text, strlen(m->text), 0, m->labels, post, m);
    if (r == CMM_DEFERRED)
        printf("deferred: %s", m->text);
    if (r == CMM_DEFERRED || r == CMM_THUNK_EXECUTED)
        return; /* m belongs to the thunk */
    if (r == CMM_FAILED)
        perror("messages");
    else
        printf("sent by %s: %s", cmm_socket_network(m->sock, &by) == 0 ? by.name : "?", m->text);
    free(m);
    sem_post(&done);
}

static struct message *parse(mc_socket_t sock, char *line) {
    char *text = line + strcspn(line, " ");
    unsigned long labels;
    if (*text)
        *text++ = 0;
    struct message *m = malloc(sizeof *m + strlen(text) + 1);
    if (!m || cmm_labels_parse(line, &labels) < 0) {
        fprintf(stderr, "messages: what is the label '%s'?\n", line);
        exit(1);
    }
    m->sock = sock;
    m->labels = labels;
    strcpy(m->text, text);
    return m;
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    char line[512];
    int count = 0;
    if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        fputs("usage: messages ADDRESS PORT\n", stderr);
        return 2;
    }
    to.sin_port = htons((in_port_t)atoi(argv[2]));
    setvbuf(stdout, NULL, _IOLBF, 0);
    sem_init(&done, 0, 0);
    mc_socket_t sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    if (sock < 0 || cmm_connect(sock, (struct sockaddr *)&to, sizeof to, CMM_LABEL_ONDEMAND, NULL, NULL,
                                NULL) == CMM_FAILED) {
        perror("messages");
        return 1;
    }
    for (; fgets(line, sizeof line, stdin); count++)
        post(parse(sock, line));
    while (count--)
        sem_wait(&done);
    return cmm_close(sock) < 0;
}
