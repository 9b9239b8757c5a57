/* script_chance - times drawn from a measured distribution. */
#ifndef CMM_SCRIPT_CHANCE_H
#define CMM_SCRIPT_CHANCE_H

#include <stdint.h>
#include <stdio.h>

/* Points of a cumulative distribution: value (milliseconds) and percent, both never falling. */
struct script_chance {
    unsigned count;
    struct script_point {
        double ms, percent;
    } * points;
};

/* "VALUE PERCENT" lines; values in seconds, percent from 0 to 100. 0, or -EINVAL with the line in *ret_line
 * and why. */
int script_chance_read(FILE *f, struct script_chance *ret, unsigned *ret_line, const char **ret_why);
void script_chance_finish(struct script_chance *c);

/* One value, at least 1 ms, between the points by straight lines; *state is the generator, moved on. */
uint32_t script_chance_draw(const struct script_chance *c, uint64_t *state);

#endif
