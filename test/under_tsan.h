/* under_tsan - whether this is a build with ThreadSanitizer, which does not bear some tests. They are
 * compiled there all the same, and skipped aloud: if (under_tsan) ... else tcase_add_test(...). */
#ifndef CMM_UNDER_TSAN_H
#define CMM_UNDER_TSAN_H

#include <stdbool.h>

#ifdef __SANITIZE_THREAD__
static const bool under_tsan = true;
#else
static const bool under_tsan = false;
#endif

#endif
