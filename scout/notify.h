/* notify - one line to the service manager, if there is one. */
#ifndef CMM_NOTIFY_H
#define CMM_NOTIFY_H

/* "READY=1" and the like to $NOTIFY_SOCKET, as sd_notify(3). Without one, nothing; failures are not an error.
 */
void notify_say(const char *state);

#endif
