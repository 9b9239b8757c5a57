/* log - what the shim says, if it was asked to: CMM_LOG=error|warn|info|debug[:FILE]. Never with the lock
 * held. */
#ifndef CMM_LOG_H
#define CMM_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* NULL: errors only, to stderr. */
void log_configure(const char *setting);

/* Whether anybody will hear what is said so. */
bool log_wants(enum log_level level);

/* One line, at most 500 bytes, in one write; errno is kept. */
void log_say(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
