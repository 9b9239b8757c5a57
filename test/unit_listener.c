/* unit_listener - one scout of a name, and nothing left behind that stops the next. */
#include "listener.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[32], path[64];
static struct listener l;

static void start(void) {
    strcpy(dir, "/tmp/cmm-listen-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s.sock", dir);
}

static void finish(void) {
    static const char *const left[] = {"s.sock", "s.lock", "s.bell"};
    for (int i = 0; i < 3; i++) {
        char file[80];
        snprintf(file, sizeof file, "%s/%s", dir, left[i]);
        unlink(file);
    }
    rmdir(dir);
}

static bool answers(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(to.sun_path, path);
    bool yes = connect(s, (struct sockaddr *)&to, sizeof to) == 0;
    close(s);
    return yes;
}

START_TEST(a_second_one_of_the_same_name_is_refused_in_one_line) {
    struct listener second;
    char want[160];
    ck_assert_int_eq(listener_take(&l, path), 0);
    snprintf(want, sizeof want, "a scout is already running at %s", path);
    ck_assert_int_eq(listener_take(&second, path), -EALREADY);
    ck_assert_str_eq(second.why, want);
    ck_assert_int_eq(second.lock, -1);
    listener_finish(&l);
    ck_assert_int_eq(listener_take(&l, path), 0);
    listener_finish(&l);
}
END_TEST

START_TEST(one_that_is_refused_takes_nothing_away) {
    struct listener second;
    ck_assert_int_eq(listener_take(&l, path), 0);
    int sock = listener_open(&l);
    ck_assert_int_ge(sock, 0);
    ck_assert_int_eq(listener_take(&second, path), -EALREADY);
    listener_finish(&second);
    ck_assert_int_eq(access(path, F_OK), 0);
    close(sock);
    listener_finish(&l);
    ck_assert_int_lt(access(path, F_OK), 0);
}
END_TEST

START_TEST(one_that_was_killed_does_not_stop_the_next) {
    int ready[2], status;
    char byte;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (listener_take(&l, path) < 0 || listener_open(&l) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(listener_take(&l, path), -EALREADY);
    close(l.lock);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    ck_assert_int_eq(access(path, F_OK), 0); /* it did leave its socket */
    ck_assert_int_eq(listener_take(&l, path), 0);
    int sock = listener_open(&l);
    ck_assert_int_ge(sock, 0);
    ck_assert(answers());
    listener_finish(&l);
    close(sock);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(the_bell_wakes_those_who_wait_at_it) {
    ck_assert_int_eq(listener_take(&l, path), 0);
    int sock = listener_open(&l);
    struct stat st;
    ck_assert_int_eq(stat(l.bell, &st), 0);
    ck_assert(S_ISFIFO(st.st_mode));
    ck_assert_uint_eq(st.st_mode & 0777, 0644);
    struct pollfd p = {.fd = open(l.bell, O_RDONLY | O_NONBLOCK | O_CLOEXEC), .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0);
    listener_ring(&l);
    ck_assert_int_eq(poll(&p, 1, -1), 1);
    ck_assert_int_eq(p.revents & POLLHUP, POLLHUP);
    close(p.fd);
    close(sock);
    listener_finish(&l);
}
END_TEST

START_TEST(modes_do_not_depend_on_the_umask) {
    struct stat st;
    umask(077);
    ck_assert_int_eq(listener_take(&l, path), 0);
    int sock = listener_open(&l);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, geteuid() == 0 ? 0666 : 0600);
    ck_assert_int_eq(stat(l.bell, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0644);
    close(sock);
    listener_finish(&l);
}
END_TEST

START_TEST(names_that_cannot_be_are_refused) {
    ck_assert_int_eq(listener_take(&l, ".hidden"), -EINVAL);
    ck_assert_int_eq(listener_take(&l, "/nonexistent/a.sock"), -ENOENT);
    ck_assert_str_eq(l.why, "/nonexistent/a.lock: No such file or directory");
    char name[200];
    memset(name, 'x', sizeof name);
    name[199] = 0;
    ck_assert_int_eq(listener_take(&l, name), -ENAMETOOLONG);
}
END_TEST

/* Another user's directory, or a link to one, in place of ours. */
START_TEST(a_directory_of_somebody_else_is_refused) {
    char runtime[48], link[64];
    bool was_root = geteuid() == 0;
    if (was_root)
        ck_assert_int_eq(seteuid(65534), 0);
    strcpy(runtime, "/tmp/cmm-run-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(runtime));
    snprintf(link, sizeof link, "%s/cmm", runtime);
    ck_assert_int_eq(symlink("/tmp", link), 0);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    ck_assert_int_eq(listener_take(&l, "s"), -ENOTDIR);
    unlink(link);
    ck_assert_int_eq(listener_take(&l, "s"), 0);
    listener_finish(&l);
    snprintf(link, sizeof link, "%s/cmm/s.lock", runtime);
    unlink(link);
    snprintf(link, sizeof link, "%s/cmm", runtime);
    rmdir(link);
    rmdir(runtime);
    if (was_root) {
        ck_assert_int_eq(seteuid(0), 0);
        prctl(PR_SET_DUMPABLE, 1); /* leak checkers look into the process */
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("listener");
    TCase *c = tcase_create("listener");
    tcase_add_checked_fixture(c, start, finish);
    tcase_add_test(c, a_second_one_of_the_same_name_is_refused_in_one_line);
    tcase_add_test(c, one_that_is_refused_takes_nothing_away);
    tcase_add_test(c, one_that_was_killed_does_not_stop_the_next);
    tcase_add_test(c, the_bell_wakes_those_who_wait_at_it);
    tcase_add_test(c, modes_do_not_depend_on_the_umask);
    tcase_add_test(c, names_that_cannot_be_are_refused);
    tcase_add_test(c, a_directory_of_somebody_else_is_refused);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}
