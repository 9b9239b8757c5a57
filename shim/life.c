/* life - the states of a managed socket.
 * One table and no side effects: what a transition means is done by the verbs, which ask here first. WAITING
 * is the hub: every connection that ends without failing comes back to it, and every attempt starts there. */
#include "life.h"

#define TO(state) ((state) + 1)

static const unsigned char next[LIFE_STATES][LIFE_EVENTS] = {
    [LIFE_FRESH] =
        {[LIFE_CONNECT] = TO(LIFE_WAITING), [LIFE_RESET] = TO(LIFE_FRESH), [LIFE_INHERIT] = TO(LIFE_LIVE)},
    [LIFE_WAITING] = {[LIFE_BEGIN] = TO(LIFE_PREPARING), [LIFE_FAILED] = TO(LIFE_DEAD)},
    [LIFE_PREPARING] = {[LIFE_PREPARED] = TO(LIFE_CONNECTING),
                        [LIFE_ABSENT] = TO(LIFE_WAITING),
                        [LIFE_FAILED] = TO(LIFE_DEAD)},
    [LIFE_CONNECTING] = {[LIFE_CONNECTED] = TO(LIFE_GREETING),
                         [LIFE_ABSENT] = TO(LIFE_WAITING),
                         [LIFE_FAILED] = TO(LIFE_DEAD)},
    [LIFE_GREETING] = {[LIFE_GREETED] = TO(LIFE_RESENDING),
                       [LIFE_ABSENT] = TO(LIFE_WAITING),
                       [LIFE_FAILED] = TO(LIFE_DEAD)},
    [LIFE_RESENDING] =
        {[LIFE_RESENT] = TO(LIFE_LIVE), [LIFE_ABSENT] = TO(LIFE_WAITING), [LIFE_FAILED] = TO(LIFE_DEAD)},
    [LIFE_LIVE] =
        {[LIFE_LOST] = TO(LIFE_WAITING), [LIFE_LEAVE] = TO(LIFE_MOVING), [LIFE_FAILED] = TO(LIFE_DEAD)},
    [LIFE_MOVING] = {[LIFE_DRAINED] = TO(LIFE_WAITING), [LIFE_LOST] = TO(LIFE_WAITING)},
    [LIFE_DEAD] = {0},
};

int life_next(enum life state, enum life_event event) {
    if (state == LIFE_CLOSED)
        return -1;
    if (event == LIFE_CLOSE)
        return LIFE_CLOSED;
    if (event == LIFE_RESET)
        return LIFE_FRESH;
    return (int)next[state][event] - 1;
}

const char *life_name(enum life state) {
    switch (state) {
    case LIFE_FRESH:
        return "fresh";
    case LIFE_WAITING:
        return "waiting";
    case LIFE_PREPARING:
        return "preparing";
    case LIFE_CONNECTING:
        return "connecting";
    case LIFE_GREETING:
        return "greeting";
    case LIFE_RESENDING:
        return "resending";
    case LIFE_LIVE:
        return "live";
    case LIFE_MOVING:
        return "moving";
    case LIFE_DEAD:
        return "dead";
    case LIFE_CLOSED:
        return "closed";
    case LIFE_STATES:
        break;
    }
    return "?";
}
