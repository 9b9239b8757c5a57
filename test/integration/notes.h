/* notes - thunks of a test, each a note: it sends its text by its labels, and knows what came of it. */
#ifndef NOTES_H
#define NOTES_H

#include "stage.h"

#include <libcmm.h>
#include <pthread.h>
#include <stdatomic.h>

#define WIFI CMM_LABEL_BACKGROUND
#define CELL CMM_LABEL_ONDEMAND

extern const char note_config[]; /* wifi: background, large; cell: ondemand */

struct note {
    int sock;
    const char *text;
    unsigned long labels;
    _Atomic ssize_t result;
    _Atomic int error;
    _Atomic int runs;
    _Atomic bool entered, gate; /* of those that stop */
    pthread_t thread;
};

/* Notes at work now, the most at a time, and how often one ended. */
extern _Atomic int note_running, note_most, note_finished;

void note_begin(struct note *n);
void note_end(void);

/* Thunks: send it; the same once its gate is open. */
void note_send(void *arg);
void note_stop_and_send(void *arg);

/* A socket to the far end for which there is no network yet; a note deferred on it. */
int note_socket(unsigned long labels);
void note_defer(struct note *n, resume_handler_t handler);

/* A thread's: sends it without a thunk; its gate opens when that is done. */
void *note_send_without_thunk(void *arg);

/* The connection comes, and carries this text. */
#define note_carries(i, text)                                                                                \
    do {                                                                                                     \
        stage_wait(stage_connections() > (i));                                                               \
        stage_expect_text(i, text);                                                                          \
    } while (0)

#endif
