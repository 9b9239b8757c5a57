/* Unit tests of watch: where a registration in an epoll set is. */
#include "suite.h"
#include "under_tsan.h"
#include "watch.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DATA = 0x7654321 };

static int sock, epfd;
static unsigned long inode;

static int set_with(int number, uint64_t data) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
    const int set = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, number, &event), 0);
    return set;
}

static void begin(void) {
    struct stat st;
    sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(fstat(sock, &st), 0);
    inode = st.st_ino;
    epfd = set_with(sock, DATA);
}

static void finish(void) {
    close(epfd);
    close(sock);
}

static bool none(int set, const void *context) {
    (void)set;
    (void)context;
    return false;
}

static bool this_one(int set, const void *context) {
    return set == *(const int *)context;
}

START_TEST(a_set_tells_what_is_registered_in_it) {
    ck_assert(watch_tells(epfd, sock, inode, DATA));
    ck_assert(!watch_tells(epfd, sock, inode, DATA + 1));
    ck_assert(!watch_tells(epfd, sock + 1, inode, DATA));
    ck_assert(!watch_tells(epfd, sock, inode + 1, DATA));
    ck_assert_int_eq(epoll_ctl(epfd, EPOLL_CTL_DEL, sock, NULL), 0);
    ck_assert(!watch_tells(epfd, sock, inode, DATA));
}
END_TEST

START_TEST(what_is_no_set_tells_nothing) {
    ck_assert(!watch_tells(sock, sock, inode, DATA));
    ck_assert(!watch_tells(-1, sock, inode, DATA));
    ck_assert(!watch_tells(1000000, sock, inode, DATA));
}
END_TEST

START_TEST(among_many_it_is_found) {
    const int crowded = set_with(sock, DATA + 1);
    for (int number = 100; number < 300; number++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = DATA};
        ck_assert_int_eq(dup2(sock, number), number);
        ck_assert_int_eq(epoll_ctl(crowded, EPOLL_CTL_ADD, number, &event), 0);
    }
    for (int number = 100; number < 300; number++)
        ck_assert(watch_tells(crowded, number, inode, DATA));
    ck_assert(watch_tells(crowded, sock, inode, DATA + 1));
}
END_TEST

START_TEST(a_set_is_found_by_what_it_has_whatever_its_number) {
    const int other = set_with(sock, DATA + 1), copy = dup(epfd);
    ck_assert_int_eq(watch_find(sock, inode, DATA, none, NULL), epfd);
    close(epfd);
    ck_assert_int_eq(watch_find(sock, inode, DATA, none, NULL), copy);
    ck_assert_int_eq(watch_find(sock, inode, DATA + 1, none, NULL), other);
    epfd = copy;
}
END_TEST

START_TEST(one_that_is_known_otherwise_is_passed_over) {
    ck_assert_int_eq(watch_find(sock, inode, DATA, this_one, &epfd), -1);
    const int second = set_with(sock, DATA);
    ck_assert_int_eq(watch_find(sock, inode, DATA, this_one, &epfd), second);
}
END_TEST

/* Of a process whose main thread has ended /proc/self tells no descriptors. */
static void *look_alone(void *main_thread) {
    pthread_join(*(pthread_t *)main_thread, NULL);
    _exit(watch_tells(epfd, sock, inode, DATA) && watch_find(sock, inode, DATA, none, NULL) == epfd ? 0 : 1);
}

START_TEST(to_ask_leaves_nothing_open) {
    const int next = dup(0);
    close(next);
    ck_assert(watch_tells(epfd, sock, inode, DATA));
    ck_assert(!watch_tells(sock, sock, inode, DATA));
    ck_assert_int_eq(watch_find(sock, inode, DATA, none, NULL), epfd);
    ck_assert_int_eq(dup(0), next);
    close(next);
}
END_TEST

START_TEST(a_set_tells_other_threads_when_the_main_one_has_ended) {
    static pthread_t self;
    pthread_t other;
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        self = pthread_self();
        pthread_create(&other, NULL, look_alone, &self);
        pthread_exit(NULL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void) {
    TCase *t = tcase_create("watch");
    Suite *s = suite_create("watch");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, begin, finish);
    tcase_add_test(t, a_set_tells_what_is_registered_in_it);
    tcase_add_test(t, what_is_no_set_tells_nothing);
    if (under_tsan)
        fprintf(stderr, "skipped: a main thread that has ended (ThreadSanitizer ends with it)\n");
    else
        tcase_add_test(t, a_set_tells_other_threads_when_the_main_one_has_ended);
    tcase_add_test(t, among_many_it_is_found);
    tcase_add_test(t, a_set_is_found_by_what_it_has_whatever_its_number);
    tcase_add_test(t, to_ask_leaves_nothing_open);
    tcase_add_test(t, one_that_is_known_otherwise_is_passed_over);
    return suite_run(s);
}
