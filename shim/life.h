/* life - the states of a managed socket and the way from one to the next. Pure. */
#ifndef CMM_LIFE_H
#define CMM_LIFE_H

enum life {
    LIFE_FRESH,      /* made, no destination yet */
    LIFE_WAITING,    /* wants a connection; none under way */
    LIFE_PREPARING,  /* a fresh socket on the chosen network, pre_reconnect to run or running */
    LIFE_CONNECTING, /* connect() under way */
    LIFE_GREETING,   /* connected, post_reconnect to run or running */
    LIFE_RESENDING,  /* post_reconnect is back, replay on: what was not acknowledged goes out again */
    LIFE_LIVE,       /* connected */
    LIFE_MOVING,     /* leaving a connection that still works: draining it */
    LIFE_DEAD,       /* failed for good, until reset */
    LIFE_CLOSED,
    LIFE_STATES
};

enum life_event {
    LIFE_CONNECT, /* a destination is given */
    LIFE_BEGIN,   /* a network was chosen */
    LIFE_PREPARED,
    LIFE_CONNECTED,
    LIFE_GREETED,
    LIFE_RESENT,
    LIFE_ABSENT,  /* the attempt ended: no network yet */
    LIFE_FAILED,  /* the attempt or the connection failed for real */
    LIFE_LOST,    /* the connection's network is gone */
    LIFE_LEAVE,   /* another network is asked, this one still works */
    LIFE_DRAINED, /* left */
    LIFE_RESET,
    LIFE_CLOSE,
    LIFE_INHERIT, /* it has come connected */
    LIFE_EVENTS
};

/* The state after event, or -1 where it has no meaning: the caller leaves the socket as it is. */
int life_next(enum life state, enum life_event event);

/* An attempt is under way: from the choice of a network until live. */
static inline int life_attempting(enum life state) {
    return state >= LIFE_PREPARING && state <= LIFE_RESENDING;
}

const char *life_name(enum life state);

#endif
