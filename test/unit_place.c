/* unit_place - where a scout listens, and whom to believe. Parts need root to become somebody else. */
#include "place.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NOBODY = 65534, SOMEBODY = 12345 };

static char path[PLACE_MAX];

/* Each test runs in a process of its own, so there is no way back and none is needed. */
static void become_user(void) {
    if (geteuid() == 0)
        ck_assert_int_eq(setresuid(SOMEBODY, SOMEBODY, SOMEBODY), 0);
}

START_TEST(roots_scout_serves_from_run) {
    setenv("XDG_RUNTIME_DIR", "/run/user/0", 1);
    ck_assert_int_eq(place_own_dir(path, sizeof path), 0);
    ck_assert_str_eq(path, "/run/cmm");
    ck_assert_int_eq(place_candidate("lab", 0, path, sizeof path), 1);
    ck_assert_str_eq(path, "/run/cmm/lab.sock");
    ck_assert_int_eq(place_candidate("lab", 1, path, sizeof path), 0);
}
END_TEST

START_TEST(a_users_scout_serves_from_his_runtime_directory) {
    become_user();
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    ck_assert_int_eq(place_own_dir(path, sizeof path), 0);
    ck_assert_str_eq(path, "/run/user/7/cmm");
    ck_assert_int_eq(place_own_socket("scout", path, sizeof path), 0);
    ck_assert_str_eq(path, "/run/user/7/cmm/scout.sock");
}
END_TEST

START_TEST(without_a_runtime_directory_it_is_in_tmp_by_uid) {
    char expected[PLACE_MAX];
    become_user();
    snprintf(expected, sizeof expected, "/tmp/cmm-%u", (unsigned)geteuid());
    unsetenv("XDG_RUNTIME_DIR");
    ck_assert_int_eq(place_own_dir(path, sizeof path), 0);
    ck_assert_str_eq(path, expected);
    setenv("XDG_RUNTIME_DIR", "", 1);
    ck_assert_int_eq(place_own_dir(path, sizeof path), 0);
    ck_assert_str_eq(path, expected);
    setenv("XDG_RUNTIME_DIR", "not/absolute", 1);
    ck_assert_int_eq(place_own_dir(path, sizeof path), 0);
    ck_assert_str_eq(path, expected);
}
END_TEST

START_TEST(a_client_looks_at_its_users_scout_then_the_systems) {
    become_user();
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    ck_assert_int_eq(place_candidate(NULL, 0, path, sizeof path), 1);
    ck_assert_str_eq(path, "/run/user/7/cmm/scout.sock");
    ck_assert_int_eq(place_candidate("", 1, path, sizeof path), 1);
    ck_assert_str_eq(path, "/run/cmm/scout.sock");
    ck_assert_int_eq(place_candidate("scout", 2, path, sizeof path), 0);
    ck_assert_int_eq(place_candidate("scout", -1, path, sizeof path), 0);
}
END_TEST

START_TEST(a_path_stands_alone) {
    ck_assert_int_eq(place_own_socket("./my.sock", path, sizeof path), 0);
    ck_assert_str_eq(path, "./my.sock");
    ck_assert_int_eq(place_candidate("/a/b", 0, path, sizeof path), 1);
    ck_assert_str_eq(path, "/a/b");
    ck_assert_int_eq(place_candidate("/a/b", 1, path, sizeof path), 0);
}
END_TEST

START_TEST(an_empty_or_hidden_name_is_refused) {
    ck_assert_int_eq(place_own_socket("", path, sizeof path), -EINVAL);
    ck_assert_int_eq(place_own_socket(".", path, sizeof path), -EINVAL);
    ck_assert_int_eq(place_own_socket("..", path, sizeof path), -EINVAL);
    ck_assert_int_eq(place_own_socket(".hidden", path, sizeof path), -EINVAL);
    ck_assert_int_eq(place_candidate(".hidden", 0, path, sizeof path), -EINVAL);
    ck_assert_int_eq(place_candidate(".hidden", 2, path, sizeof path), 0);
}
END_TEST

START_TEST(a_path_too_long_for_a_socket_is_said_not_cut) {
    char name[2 * PLACE_MAX];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(place_own_socket(name, path, sizeof path), -ENAMETOOLONG);
    ck_assert_int_eq(place_candidate(name, 0, path, sizeof path), -ENAMETOOLONG);
    ck_assert_int_eq(place_bell(name, path, sizeof path), -ENAMETOOLONG);
    name[0] = '/';
    ck_assert_int_eq(place_own_socket(name, path, sizeof path), -ENAMETOOLONG);
    name[PLACE_MAX - 1] = '\0';
    ck_assert_int_eq(place_own_socket(name, path, sizeof path), 0);
    ck_assert_int_eq(place_bell(name, path, sizeof path), -ENAMETOOLONG);
    ck_assert_int_eq(place_own_dir(path, 4), -ENAMETOOLONG);
}
END_TEST

START_TEST(the_bell_hangs_beside_the_socket) {
    ck_assert_int_eq(place_bell("/run/cmm/scout.sock", path, sizeof path), 0);
    ck_assert_str_eq(path, "/run/cmm/scout.bell");
    ck_assert_int_eq(place_bell("/x/odd", path, sizeof path), 0);
    ck_assert_str_eq(path, "/x/odd.bell");
}
END_TEST

START_TEST(a_peer_of_the_own_uid_is_trusted) {
    int pair[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    ck_assert_int_eq(place_peer_trusted(pair[0]), 1);
}
END_TEST

START_TEST(what_is_no_unix_socket_is_not_trusted) {
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(place_peer_trusted(pipes[0]), 0);
    ck_assert_int_eq(place_peer_trusted(-1), 0);
    int inet = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(place_peer_trusted(inet), 0);
}
END_TEST

START_TEST(root_is_trusted_by_all_and_others_by_none) {
    int by_root[2];
    int by_other[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, by_root), 0);
    ck_assert_int_eq(seteuid(NOBODY), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, by_other), 0);
    ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(place_peer_trusted(by_other[0]), 0);
    become_user();
    ck_assert_int_eq(place_peer_trusted(by_root[0]), 1);
    ck_assert_int_eq(place_peer_trusted(by_other[0]), 0);
}
END_TEST

/* Root of a user namespace may have nobody else to become. */
static int can_become(void) {
    if (geteuid() != 0)
        return 0;
    int ok = seteuid(NOBODY) == 0 && seteuid(0) == 0 && seteuid(SOMEBODY) == 0;
    return seteuid(0) == 0 && ok;
}

int main(void) {
    Suite *s = suite_create("place");
    TCase *t = tcase_create("place");
    suite_add_tcase(s, t);
    if (geteuid() != 0 || can_become()) {
        tcase_add_test(t, a_users_scout_serves_from_his_runtime_directory);
        tcase_add_test(t, without_a_runtime_directory_it_is_in_tmp_by_uid);
        tcase_add_test(t, a_client_looks_at_its_users_scout_then_the_systems);
    } else {
        fputs("skipped: what an ordinary user's paths are, for there is nobody to become\n", stderr);
    }
    if (can_become())
        tcase_add_test(t, root_is_trusted_by_all_and_others_by_none);
    else
        fputs("skipped: whether others are trusted, for it takes root to be others\n", stderr);
    if (geteuid() == 0)
        tcase_add_test(t, roots_scout_serves_from_run);
    else
        fputs("skipped: what root's paths are, for we are not root\n", stderr);
    tcase_add_test(t, a_path_stands_alone);
    tcase_add_test(t, an_empty_or_hidden_name_is_refused);
    tcase_add_test(t, a_path_too_long_for_a_socket_is_said_not_cut);
    tcase_add_test(t, the_bell_hangs_beside_the_socket);
    tcase_add_test(t, a_peer_of_the_own_uid_is_trusted);
    tcase_add_test(t, what_is_no_unix_socket_is_not_trusted);
    return suite_run(s);
}
