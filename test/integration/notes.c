/* notes - thunks of a test, each a note.
 * They run on whatever thread the library chooses: the counters are atomic. */
#include "notes.h"

#include <errno.h>
#include <string.h>

const char note_config[] = "[network wifi]\naddress = 127.0.1.1\nlabels = background, large\n"
                           "[network cell]\naddress = 127.0.2.1\nlabels = ondemand\n";

_Atomic int note_running, note_most, note_finished;

void note_begin(struct note *n) {
    int now = ++note_running;
    if (now > note_most)
        note_most = now;
    n->thread = pthread_self();
    n->runs++;
    n->entered = true;
}

void note_end(void) {
    note_running--;
    note_finished++;
}

void note_send(void *arg) {
    struct note *n = arg;
    note_begin(n);
    n->result = cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, note_send, n);
    n->error = errno;
    note_end();
}

void note_stop_and_send(void *arg) {
    struct note *n = arg;
    note_begin(n);
    stage_wait(n->gate);
    n->result = cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, note_send, n);
    n->error = errno;
    note_end();
}

int note_socket(unsigned long labels) {
    struct sockaddr_in to = stage_tcp();
    int sock = cmm_socket(AF_INET, SOCK_STREAM, 0);
    stage_expect(sock >= 0);
    stage_equal(cmm_connect(sock, (struct sockaddr *)&to, sizeof to, labels, NULL, NULL, NULL), CMM_DEFERRED);
    return sock;
}

void note_defer(struct note *n, resume_handler_t handler) {
    stage_equal(cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, handler, n), CMM_DEFERRED);
}

void *note_send_without_thunk(void *arg) {
    struct note *n = arg;
    n->entered = true;
    n->result = cmm_send(n->sock, n->text, strlen(n->text), 0, n->labels, NULL, NULL);
    n->error = errno;
    n->gate = true;
    return NULL;
}
