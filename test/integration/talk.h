/* talk - one labeled socket to the far end of a stage, and a diary of what the library called. */
#ifndef TALK_H
#define TALK_H

#include "stage.h"

#include <libcmm.h>
#include <pthread.h>
#include <stdatomic.h>

enum { TALK_EVENTS = 64 };

/* A handler or a thunk ran. */
struct talk_event {
    char what; /* '<' pre_reconnect, '>' post_reconnect, 't' thunk */
    int sock;
    unsigned long labels;
    const void *arg;
    pthread_t thread;
    ssize_t unacked;
    _Atomic long result; /* of a thunk's send, once it is back */
};

extern const char talk_config[]; /* wifi (all), cell (ondemand, small), twin (all) */

extern int talk_sock;
extern struct talk_event talk_events[TALK_EVENTS];
extern _Atomic int talk_count;

/* What the handlers do besides keeping the diary; NULL: nothing. Their word is the handler's. */
extern int (*talk_in_pre)(int sock), (*talk_in_post)(int sock);

/* Such a handler: it says that it is inside, and waits for the gate to open. */
extern _Atomic bool talk_gate, talk_inside;
int talk_wait_at_gate(int sock);

/* A new socket, connecting to the far end's TCP port with the handlers that keep the diary, and with arg as
 * their argument: what cmm_connect says. */
int talk_dial(int flags, unsigned long labels, void *arg);

/* On the socket there is. */
int talk_connect(unsigned long labels, void *arg);

/* Without handlers. */
int talk_dial_plainly(int flags, unsigned long labels);

/* Without handlers, small: on cell, and wifi has come since. */
void talk_on_cell_with_wifi_there(int flags);

void talk_set_blocking(void);

/* cmm_send of a text without a handler; with a thunk that sends it again with the same labels. */
long talk_put(const char *text, unsigned long labels);
long talk_defer(const char *text, unsigned long labels);
long talk_defer_at_once(const char *text, unsigned long labels); /* with MSG_DONTWAIT */

/* A thunk that writes its argument into the diary and does nothing else; cmm_send with it. */
void talk_note(void *arg);
long talk_put_noting(const char *text, unsigned long labels, const char *arg);

/* The diary as letters: "<>" after the first connection. */
const char *talk_diary(void);
bool talk_on(const char *network);
bool talk_source_is(const char *address);
bool talk_silent(void); /* in poll and select */

/* The socket has left its last connection and is on another (the far end's number i), by the network of this
 * source address. */
#define talk_expect_moved(i, source, network)                                                                \
    do {                                                                                                     \
        stage_expect_connection(i, source);                                                                  \
        stage_wait(talk_on(network));                                                                        \
    } while (0)

/* A thread of its own runs job(); talk_join waits until it is back and gives its result, with errno. */
void talk_begin(long (*job)(void));
bool talk_back(void);
long talk_join(void);
bool talk_asleep(void); /* it sleeps in the kernel */
/* It is in talk_defer, or in talk_put, and sleeps there. */
void talk_begin_call(const char *text, unsigned long labels, bool defers);
extern pthread_t talk_thread;

#endif
