/* log - what the scout says, to stderr. */
#ifndef CMM_SCOUT_LOG_H
#define CMM_SCOUT_LOG_H

/* The values of syslog, as the journal reads them. */
enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_INFORM = 6, LOG_DETAIL = 7 };

/* Finds out whether stderr is the journal; says what is at least as grave as limit. */
void log_init(enum log_level limit);

/* One line; unprintable bytes are shown as '?'. Keeps errno. */
__attribute__((format(printf, 2, 3))) void log_say(enum log_level level, const char *format, ...);

/* The same, but of a burst only the first lines in a second are said: for what the world can make us say
 * often. */
__attribute__((format(printf, 2, 3))) void log_often(enum log_level level, const char *format, ...);

#endif
