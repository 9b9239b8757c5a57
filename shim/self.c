/* self - what the shim knows of each thread.
 * The list is guarded by a lock of its own that nests inside all others and is held for list work only.
 * in_call is written by its thread with plain stores and read by others behind membarrier(2): the hot path
 * pays two stores, the rare reader pays for all. A thread enters at its first managed call and leaves by a
 * pthread key's destructor. */
#include "self.h"
#include "lift.h"
#include "real.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__thread struct self self __attribute__((tls_model("initial-exec")));

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct self *list;
static pthread_key_t leave_key;
static bool keyed;
static pthread_once_t leave_once = PTHREAD_ONCE_INIT;
static bool barrier_ready;

/* A signal handler's call, or the end of a thread that is cancelled asynchronously, must not meet it. */
struct hold {
    bool before;
    int type;
};

static struct hold list_take(void) {
    struct hold h = {.before = self.holding};
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &h.type);
    self.holding = true;
    pthread_mutex_lock(&list_lock);
    return h;
}

static void list_drop(struct hold h) {
    pthread_mutex_unlock(&list_lock);
    self.holding = h.before;
    pthread_setcanceltype(h.type, NULL);
}

static void leave(void *unused) {
    (void)unused;
    const struct hold h = list_take();
    if (self.prev)
        self.prev->next = self.next;
    else
        list = self.next;
    if (self.next)
        self.next->prev = self.prev;
    self.registered = false;
    __atomic_store_n(&self.in_call, NULL, __ATOMIC_RELEASE);
    list_drop(h);
    if (self.wake_fd >= 0)
        lift_close(self.wake_fd);
    self.wake_fd = -1;
}

/* libc's, for thread_local objects of C++: a program may have taken all keys. */
extern int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *dso) __attribute__((weak));

static void leave_at_end(void) {
    if ((!keyed || pthread_setspecific(leave_key, &self) != 0) && __cxa_thread_atexit_impl)
        __cxa_thread_atexit_impl(leave, NULL, &list);
}

void self_read(const char *path, char *ret_text, size_t size) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : real.read(fd, ret_text, size - 1);
    if (fd >= 0)
        real.close(fd);
    ret_text[n < 0 ? 0 : n] = 0;
}

bool self_filtered(void) {
    char text[4096];
    self_read("/proc/thread-self/status", text, sizeof text);
    const char *mode = strstr(text, "\nSeccomp:");
    return mode && mode[sizeof "\nSeccomp:"] != '0';
}

static void prepare(void) {
    keyed = pthread_key_create(&leave_key, leave) == 0;
    barrier_ready =
        !self_filtered() &&
        real_syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0) == 0;
}

void self_prepare(void) {
    const int saved = errno;
    pthread_once(&leave_once, prepare);
    errno = saved;
}

void self_register(void) {
    int saved = errno;
    if (self.registered)
        return;
    self_prepare();
    self.wake_fd = -1;
    leave_at_end();
    const struct hold h = list_take();
    self.prev = NULL;
    self.next = list;
    if (list)
        list->prev = &self;
    list = &self;
    self.tid = gettid();
    self.registered = true;
    __atomic_store_n(&self.in_call, SELF_IDLE, __ATOMIC_RELEASE);
    list_drop(h);
    errno = saved;
}

struct frame *self_frame(const void *sock) {
    struct frame *f = self.frames;
    while (f && f->sock != sock)
        f = f->up;
    return f;
}

/* Of the other threads. */
static bool anyone(bool (*is)(const struct self *t, const void *sock), const void *sock) {
    bool found = false;
    const struct hold h = list_take();
    for (struct self *t = list; t && !found; t = t->next)
        found = t != &self && is(t, sock);
    list_drop(h);
    return found;
}

static bool is_there(const struct self *t, const void *sock) {
    return true;
}

static bool is_in(const struct self *t, const void *sock) {
    return __atomic_load_n(&t->in_call, __ATOMIC_ACQUIRE) == sock;
}

static bool polls(const struct self *t, const void *sock) {
    return t->wake_fd >= 0;
}

bool self_others_poll(void) {
    return anyone(polls, NULL);
}

/* A thread that enters the list later has seen what was published before. */
bool self_nobody_in(const void *sock) {
    if (!anyone(is_there, NULL))
        return true;
    if (barrier_ready)
        real_syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0, 0, 0, 0);
    else
        nanosleep(&(struct timespec){0, 1000000}, NULL); /* by then what others have written is seen */
    return !anyone(is_in, sock);
}

bool self_quiesce(const void *sock, int limit_ms) {
    if (self_nobody_in(sock))
        return true;
    for (int spins = 0; anyone(is_in, sock); spins++) {
        if (spins < 100) {
            sched_yield();
            continue;
        }
        if (spins - 100 >= limit_ms * 10)
            return false;
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    return true;
}

/* ---- rousing: by a signal that no program can have, as libc keeps it from them ----
 * It is what pthread_cancel() sends, but not from there, and so nothing to libc's handler, which may come in
 * ours' place at any time. Ours has SA_RESTART, as libc's of late. */

enum { ROUSE = 32 };

static bool rouses;

#if defined(__x86_64__)

enum { SA_RESTORES = 0x04000000 };

/* The kernel's own sigaction: libc's refuses the number. */
struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

static void roused(int number, siginfo_t *info, void *context) {}

/* In these very bytes unwinders know it. */
__asm__(".pushsection .text\n"
        ".type self_restorer, @function\n"
        "nop\n"
        "self_restorer:\n"
        ".byte 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05\n"
        ".size self_restorer, .-self_restorer\n"
        ".popsection\n");
extern void self_restorer(void) __attribute__((visibility("hidden")));

bool self_prepare_rouse(void) {
    const struct kernel_action ours = {roused, SA_SIGINFO | SA_RESTART | SA_ONSTACK | SA_RESTORES,
                                       self_restorer, 0};
    struct kernel_action now = {0};
    const int saved = errno;
    self_prepare();
    if (!rouses && barrier_ready &&
        real_syscall(SYS_rt_sigaction, ROUSE, 0, (long)&now, sizeof now.mask, 0, 0) == 0) {
        const bool none = now.handler == (void *)SIG_DFL || now.handler == (void *)SIG_IGN;
        rouses = !none || real_syscall(SYS_rt_sigaction, ROUSE, (long)&ours, 0, sizeof ours.mask, 0, 0) == 0;
    }
    errno = saved;
    return rouses;
}

#else
bool self_prepare_rouse(void) {
    return false;
}
#endif

bool self_rouses(void) {
    return rouses;
}

bool self_rouse(const void *sock) {
    siginfo_t info = {.si_signo = ROUSE, .si_code = SI_QUEUE};
    const int saved = errno;
    if (self_nobody_in(sock))
        return true;
    if (!rouses || self_filtered())
        return false;
    info.si_pid = getpid();
    const struct hold h = list_take();
    for (struct self *t = list; t; t = t->next)
        if (t != &self && is_in(t, sock) && !t->in_poll) {
            t->roused = true;
            real_syscall(SYS_rt_tgsigqueueinfo, info.si_pid, t->tid, ROUSE, (long)&info, 0, 0);
        }
    list_drop(h);
    errno = saved;
    return true;
}

int self_wake_fd(void) {
    self_register();
    if (self.wake_fd < 0)
        self.wake_fd = lift(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return self.wake_fd;
}

/* One that was closed past every door would be ready for ever. */
void self_wake_drain(void) {
    uint64_t count;
    const int before = errno;
    const bool there = real.read(self.wake_fd, &count, sizeof count) == sizeof count || errno != EBADF;
    if (!there) {
        lift_forget(self.wake_fd);
        self.wake_fd = -1;
        self_wake_fd();
    }
    errno = before; /* mostly there is nothing to read */
}

void self_wake_all(void) {
    const uint64_t one = 1;
    const struct hold h = list_take();
    for (struct self *t = list; t; t = t->next)
        if (t->wake_fd >= 0)
            (void)!real.write(t->wake_fd, &one, sizeof one);
    list_drop(h);
}

void self_moved(int from, int to) {
    const struct hold h = list_take();
    for (struct self *t = list; t; t = t->next)
        if (t->wake_fd == from)
            t->wake_fd = to;
    list_drop(h);
}

int self_start(pthread_t *ret, void *(*run)(void *), void *arg) {
    pthread_attr_t attr;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int r = pthread_create(ret, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

bool self_await_end(pid_t thread, int limit_ms) {
    for (int spins = 0; real_syscall(SYS_tgkill, getpid(), thread, 0, 0, 0, 0) == 0; spins++) {
        if (limit_ms && spins >= limit_ms * 10)
            return false;
        nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    return true;
}

void self_forked(void) {
    pthread_mutex_init(&list_lock, NULL);
    list = NULL;
    if (!self.registered)
        return;
    if (self.wake_fd >= 0)
        lift_close(self.wake_fd);
    self.wake_fd = -1;
    self.next = self.prev = NULL;
    self.tid = gettid();
    list = &self;
}
