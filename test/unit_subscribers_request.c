/* unit_subscribers_request - who asks, sets, releases and watches, and what is answered. */
#include "subscriber.h"
#include "suite.h"

START_TEST(an_unknown_topic_is_answered_and_counted) {
    int c = dial();
    ask(c, (enum wire_topic)99);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, EINVAL);
    ck_assert_uint_eq(dropped(c), 1);
    close(c);
}
END_TEST

START_TEST(who_asks_hears_of_the_networks_that_found_no_room_too) {
    int c = dial();
    publish(3);
    untold = WIRE_NETWORKS + 5;
    ask(c, WIRE_ASK_NETWORKS);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    for (unsigned from = 0; from < untold; from += m.snapshot.count) {
        ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
        ck_assert_uint_eq(m.snapshot.generation, 3);
        ck_assert_uint_eq(m.snapshot.networks[0].id, from + 1);
    }
    ck_assert_int_eq(hear(c), WIRE_DONE);
    close(c);
}
END_TEST

START_TEST(what_is_only_kept_is_heard_by_who_asks_or_comes) {
    int c = dial(), late = dial();
    publish(3);
    subscribe(c, 0);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    struct wire_snapshot kept = m.snapshot;
    kept.pref_count = 1;
    subscribers_keep(s, &kept);
    ck_assert_int_eq(hear(c), 0);
    ask(c, WIRE_ASK_NETWORKS);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.pref_count, 1);
    subscribe(late, 0);
    ck_assert_int_eq(hear(late), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.pref_count, 1);
    close(c);
    close(late);
}
END_TEST

START_TEST(every_question_is_answered_and_the_answer_has_an_end) {
    int c = dial(), other = dial();
    struct label_names names = {.name = {"backup"}};
    subscribers_names(s, &names);
    publish(3);
    subscribe(other, 0);
    report(other, 8);
    turn();
    ask(c, WIRE_ASK_STATUS);
    ask(c, WIRE_ASK_LABELS);
    ask(c, WIRE_ASK_NETWORKS);
    ask(c, WIRE_ASK_SUBSCRIBERS);
    ck_assert_int_eq(hear(c), WIRE_STATUS);
    ck_assert_uint_eq(m.status.generation, 77);
    ck_assert_uint_eq(m.status.subscribers, 1);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(hear(c), WIRE_LABELS);
    ck_assert_str_eq(m.labels.names[0], "backup");
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(hear(c), WIRE_SNAPSHOT);
    ck_assert_uint_eq(m.snapshot.generation, 3);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(hear(c), WIRE_SUBSCRIBER);
    ck_assert_uint_eq(m.subscriber.pid, (uint32_t)getpid());
    ck_assert_str_eq(m.subscriber.program, "tester");
    ck_assert_uint_eq(m.subscriber.report.wants[0].labels, 8);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, 0);
    ck_assert_int_eq(hear(c), 0);
    close(c);
    close(other);
}
END_TEST

START_TEST(what_is_set_is_answered_with_the_outcome) {
    int c = dial();
    struct wire_set set = {.action = WIRE_SET_UP, .network = "lab"};
    set_answer = ENOENT;
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, ENOENT);
    ck_assert_str_eq(m.done.text, "lab");
    ck_assert_int_eq(set_calls, 1);
    close(c);
}
END_TEST

START_TEST(a_policy_is_answered_with_the_outcome) {
    int c = dial();
    struct wire_policy policy = {.network = "lab", .labels = 8, .fields = WIRE_SET_LABELS};
    say(c, &policy, WIRE_POLICY, sizeof policy);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, 0);
    policy.metered = 3; /* no message at all */
    say(c, &policy, WIRE_POLICY, sizeof policy);
    ck_assert_int_eq(hear(c), 0);
    close(c);
}
END_TEST

static void publish_one(enum wire_state state) {
    struct wire_snapshot snapshot = {.header = {WIRE_VERSION, WIRE_SNAPSHOT, (uint32_t)wire_snapshot_size(1)},
                                     .generation = 5,
                                     .count = 1};
    snapshot.networks[0] = (struct wire_network){.name = "lab", .id = 1, .state = (uint8_t)state};
    subscribers_publish(s, &snapshot);
}

START_TEST(a_release_goes_to_that_process_and_only_while_a_network_is_up) {
    int c = dial(), other = dial();
    struct wire_set set = {.action = WIRE_SET_RELEASE, .pid = (uint32_t)getpid()};
    publish_one(WIRE_NET_DOWN);
    subscribe(other, 0);
    ck_assert_int_eq(hear(other), WIRE_SNAPSHOT);
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, ENETDOWN);
    publish_one(WIRE_NET_UP);
    ck_assert_int_eq(hear(other), WIRE_SNAPSHOT);
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, 0);
    ck_assert_int_eq(hear(other), WIRE_RELEASE);
    ck_assert_int_eq(hear(other), 0);
    set.pid = 1;
    say(c, &set, WIRE_SET, sizeof set);
    ck_assert_int_eq(hear(c), WIRE_DONE);
    ck_assert_int_eq(m.done.error, ESRCH);
    ck_assert_int_eq(set_calls, 0);
    close(c);
    close(other);
}
END_TEST

START_TEST(who_watches_hears_of_subscribers_and_what_they_wait_for) {
    int c = dial(), other = dial();
    char want[64];
    ask(c, WIRE_ASK_WATCH);
    turn();
    subscribe(other, 0);
    report(other, 8);
    report(other, 8);
    ck_assert_int_eq(hear(c), WIRE_EVENT);
    snprintf(want, sizeof want, "subscriber %d tester came", getpid());
    ck_assert_str_eq(m.event.text, want);
    ck_assert_int_eq(hear(c), WIRE_EVENT);
    snprintf(want, sizeof want, "subscriber %d tester waiting background", getpid());
    ck_assert_str_eq(m.event.text, want);
    close(other);
    ck_assert_int_eq(hear(c), WIRE_EVENT);
    snprintf(want, sizeof want, "subscriber %d tester left", getpid());
    ck_assert_str_eq(m.event.text, want);
    ck_assert_int_eq(hear(c), 0);
    close(c);
}
END_TEST

START_TEST(who_watches_and_never_reads_is_told_how_much_it_missed) {
    int c = dial();
    unsigned heard = 0, missed = 0;
    ask(c, WIRE_ASK_WATCH);
    turn();
    for (int i = 0; i < 5000; i++)
        subscribers_event(s, "something");
    while (hear(c) == WIRE_EVENT)
        if (sscanf(m.event.text, "%u events were left out", &missed) != 1)
            heard++;
    ck_assert_uint_gt(missed, 0);
    ck_assert_uint_eq(heard + missed, 5000);
    close(c);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("subscribers_request");
    TCase *c = tcase_create("subscribers_request");
    tcase_add_checked_fixture(c, start, finish);
    tcase_add_test(c, an_unknown_topic_is_answered_and_counted);
    tcase_add_test(c, who_asks_hears_of_the_networks_that_found_no_room_too);
    tcase_add_test(c, what_is_only_kept_is_heard_by_who_asks_or_comes);
    tcase_add_test(c, every_question_is_answered_and_the_answer_has_an_end);
    tcase_add_test(c, what_is_set_is_answered_with_the_outcome);
    tcase_add_test(c, a_policy_is_answered_with_the_outcome);
    tcase_add_test(c, a_release_goes_to_that_process_and_only_while_a_network_is_up);
    tcase_add_test(c, who_watches_hears_of_subscribers_and_what_they_wait_for);
    tcase_add_test(c, who_watches_and_never_reads_is_told_how_much_it_missed);
    suite_add_tcase(suite, c);
    return suite_run(suite);
}
