/* unit_life - every way of a managed socket from one state to the next, and that there are no others. */
#include "life.h"
#include "suite.h"

#include <check.h>
#include <string.h>

enum { NO_WAY = -1 };

/* Walks the events one after the other; the state they end in. */
static int walk(enum life state, int count, const enum life_event *events) {
    int at = (int)state;
    for (int i = 0; i < count && at >= 0; i++)
        at = life_next((enum life)at, events[i]);
    return at;
}
#define WALK(state, ...)                                                                                     \
    walk(state, (int)(sizeof((enum life_event[]){__VA_ARGS__}) / sizeof(enum life_event)),                   \
         (enum life_event[]){__VA_ARGS__})

/* Of all events but reset and close, exactly these lead out of state, to the states beside them. */
struct way {
    enum life_event event;
    enum life state;
};

static void leads_out(enum life state, const struct way *ways, int count) {
    for (int event = 0; event < LIFE_EVENTS; event++) {
        int to = NO_WAY;
        if (event == LIFE_RESET || event == LIFE_CLOSE)
            continue;
        for (int i = 0; i < count; i++)
            if ((int)ways[i].event == event)
                to = (int)ways[i].state;
        ck_assert_msg(life_next(state, (enum life_event)event) == to, "%s, event %d: %d, not %d",
                      life_name(state), event, life_next(state, (enum life_event)event), to);
    }
}
#define LEADS_OUT(state, ...)                                                                                \
    leads_out(state, (struct way[]){__VA_ARGS__},                                                            \
              (int)(sizeof((struct way[]){__VA_ARGS__}) / sizeof(struct way)))

START_TEST(a_fresh_socket_gets_a_destination_or_has_come_connected) {
    LEADS_OUT(LIFE_FRESH, {LIFE_CONNECT, LIFE_WAITING}, {LIFE_INHERIT, LIFE_LIVE});
}
END_TEST

START_TEST(every_attempt_starts_from_waiting) {
    LEADS_OUT(LIFE_WAITING, {LIFE_BEGIN, LIFE_PREPARING}, {LIFE_FAILED, LIFE_DEAD});
    for (int state = 0; state < LIFE_STATES; state++)
        if (state != LIFE_WAITING)
            ck_assert_int_eq(life_next((enum life)state, LIFE_BEGIN), NO_WAY);
}
END_TEST

START_TEST(connect_comes_only_after_pre_reconnect_is_back) {
    LEADS_OUT(LIFE_PREPARING, {LIFE_PREPARED, LIFE_CONNECTING}, {LIFE_ABSENT, LIFE_WAITING},
              {LIFE_FAILED, LIFE_DEAD});
}
END_TEST

START_TEST(post_reconnect_comes_only_after_connect) {
    LEADS_OUT(LIFE_CONNECTING, {LIFE_CONNECTED, LIFE_GREETING}, {LIFE_ABSENT, LIFE_WAITING},
              {LIFE_FAILED, LIFE_DEAD});
}
END_TEST

START_TEST(what_was_not_acknowledged_goes_first_after_post_reconnect) {
    LEADS_OUT(LIFE_GREETING, {LIFE_GREETED, LIFE_RESENDING}, {LIFE_ABSENT, LIFE_WAITING},
              {LIFE_FAILED, LIFE_DEAD});
    LEADS_OUT(LIFE_RESENDING, {LIFE_RESENT, LIFE_LIVE}, {LIFE_ABSENT, LIFE_WAITING},
              {LIFE_FAILED, LIFE_DEAD});
}
END_TEST

START_TEST(a_live_socket_is_lost_leaves_or_fails) {
    LEADS_OUT(LIFE_LIVE, {LIFE_LOST, LIFE_WAITING}, {LIFE_LEAVE, LIFE_MOVING}, {LIFE_FAILED, LIFE_DEAD});
}
END_TEST

START_TEST(a_moving_socket_is_drained_or_its_network_is_lost_meanwhile) {
    LEADS_OUT(LIFE_MOVING, {LIFE_DRAINED, LIFE_WAITING}, {LIFE_LOST, LIFE_WAITING});
}
END_TEST

START_TEST(a_dead_socket_stays_so_until_reset) {
    for (int event = 0; event < LIFE_EVENTS; event++)
        if (event != LIFE_RESET && event != LIFE_CLOSE)
            ck_assert_int_eq(life_next(LIFE_DEAD, (enum life_event)event), NO_WAY);
    ck_assert_int_eq(WALK(LIFE_DEAD, LIFE_RESET, LIFE_CONNECT), LIFE_WAITING);
}
END_TEST

START_TEST(a_closed_socket_stays_so_for_ever) {
    for (int event = 0; event < LIFE_EVENTS; event++)
        ck_assert_int_eq(life_next(LIFE_CLOSED, (enum life_event)event), NO_WAY);
}
END_TEST

START_TEST(every_open_socket_can_be_reset_and_closed) {
    for (int state = 0; state < LIFE_CLOSED; state++) {
        ck_assert_int_eq(life_next((enum life)state, LIFE_RESET), LIFE_FRESH);
        ck_assert_int_eq(life_next((enum life)state, LIFE_CLOSE), LIFE_CLOSED);
    }
}
END_TEST

START_TEST(a_first_connection_runs_the_handlers_and_is_live) {
    ck_assert_int_eq(
        WALK(LIFE_FRESH, LIFE_CONNECT, LIFE_BEGIN, LIFE_PREPARED, LIFE_CONNECTED, LIFE_GREETED, LIFE_RESENT),
        LIFE_LIVE);
}
END_TEST

START_TEST(a_lost_connection_is_remade_the_same_way) {
    ck_assert_int_eq(
        WALK(LIFE_LIVE, LIFE_LOST, LIFE_BEGIN, LIFE_PREPARED, LIFE_CONNECTED, LIFE_GREETED, LIFE_RESENT),
        LIFE_LIVE);
    ck_assert_int_eq(WALK(LIFE_LIVE, LIFE_LEAVE, LIFE_DRAINED, LIFE_BEGIN, LIFE_PREPARED, LIFE_CONNECTED,
                          LIFE_GREETED, LIFE_RESENT),
                     LIFE_LIVE);
}
END_TEST

START_TEST(an_attempt_whose_network_is_not_there_yet_can_be_made_again) {
    ck_assert_int_eq(WALK(LIFE_WAITING, LIFE_BEGIN, LIFE_PREPARED, LIFE_ABSENT, LIFE_BEGIN, LIFE_PREPARED),
                     LIFE_CONNECTING);
}
END_TEST

START_TEST(an_attempt_is_from_the_choice_of_a_network_until_live) {
    for (int state = 0; state < LIFE_STATES; state++) {
        const int wanted = state == LIFE_PREPARING || state == LIFE_CONNECTING || state == LIFE_GREETING ||
                           state == LIFE_RESENDING;
        ck_assert_int_eq(!!life_attempting((enum life)state), wanted);
    }
}
END_TEST

START_TEST(every_state_has_a_name_of_its_own) {
    for (int a = 0; a < LIFE_STATES; a++)
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(life_name((enum life)a), life_name((enum life)b));
    ck_assert_str_eq(life_name(LIFE_MOVING), "moving");
    ck_assert_str_eq(life_name(LIFE_STATES), "?");
}
END_TEST

int main(void) {
    TCase *t = tcase_create("life");
    Suite *s = suite_create("life");
    suite_add_tcase(s, t);
    tcase_add_test(t, a_fresh_socket_gets_a_destination_or_has_come_connected);
    tcase_add_test(t, every_attempt_starts_from_waiting);
    tcase_add_test(t, connect_comes_only_after_pre_reconnect_is_back);
    tcase_add_test(t, post_reconnect_comes_only_after_connect);
    tcase_add_test(t, what_was_not_acknowledged_goes_first_after_post_reconnect);
    tcase_add_test(t, a_live_socket_is_lost_leaves_or_fails);
    tcase_add_test(t, a_moving_socket_is_drained_or_its_network_is_lost_meanwhile);
    tcase_add_test(t, a_dead_socket_stays_so_until_reset);
    tcase_add_test(t, a_closed_socket_stays_so_for_ever);
    tcase_add_test(t, every_open_socket_can_be_reset_and_closed);
    tcase_add_test(t, a_first_connection_runs_the_handlers_and_is_live);
    tcase_add_test(t, a_lost_connection_is_remade_the_same_way);
    tcase_add_test(t, an_attempt_whose_network_is_not_there_yet_can_be_made_again);
    tcase_add_test(t, an_attempt_is_from_the_choice_of_a_network_until_live);
    tcase_add_test(t, every_state_has_a_name_of_its_own);
    return suite_run(s);
}
