#!/bin/sh
# labeled_journey.sh BUILD CLIENT SERVER hello|replay - messages in labeled lanes while links go down and up.
# Lane a (blue) may go by wifi0 alone, b (red) by wwan0 alone, c (ondemand) by both; the far end's record is the proof.
# shellcheck disable=SC2016 # awk's
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1 client=$2 far=$3 way=$4
port=7000
record=$stage/record

# shellcheck disable=SC2034 # world_scout's
wifi_labels='blue, ondemand' cell_labels='red, ondemand'
world_scout "$build" || exit 1
world_server "$far" $port "$record" &
within world_listens $port || exit 1
mkfifo "$stage/end"
"$client" $server $port "$way" <"$stage/end" >"$stage/told" 2>"$stage/said" &
journey=$!
exec 3>"$stage/end"

# ---- the networks come and go ----

wifi=0 cell=0

set_link() {
    if [ "$2" = 1 ]; then
        world_up "$1"
    else
        world_down "$1"
    fi
}

# WIFI CELL: each 0 or 1; what is already so is left alone.
links() {
    [ "$1" = "$wifi" ] || set_link wifi0 "$1"
    [ "$2" = "$cell" ] || set_link wwan0 "$2"
    wifi=$1 cell=$2
}

lines_of() {
    grep -c "^[0-9.]* [0-9]* $1 " "$record"
}

more_of() {
    [ "$(lines_of "$1")" -gt $(($2 + 10)) ]
}

gone() {
    ! "$build/tools/cmm-ctl" wait -t 0 "$1"
}

# The journey goes on in every lane that has a network, and grace has passed for those that have none.
progress() {
    a=$(lines_of a) b=$(lines_of b) c=$(lines_of c)
    [ "$wifi" = 0 ] || within more_of a "$a" || return 1
    [ "$cell" = 0 ] || within more_of b "$b" || return 1
    [ "$wifi$cell" = 00 ] || within more_of c "$c" || return 1
    [ "$wifi" = 1 ] || within gone blue || return 1
    [ "$cell" = 1 ] || within gone red
}

# Every change from every state to every other, both at once included.
walk='10 01 10 11 01 11 10 00 01 00 11 00 10 11 00 01 11'
went=yes
for state in $walk; do
    links "${state%?}" "${state#?}"
    progress || {
        went="stuck at $state"
        break
    }
done
is 'the journey goes on by whatever network its lanes may use' yes "$went"

# Blips within grace, and changes faster than anybody can follow.
for state in 01 11 10 11 00 11 01 10 01 00 10 00 01 11 00 10 01 11; do
    links "${state%?}" "${state#?}"
done
links 1 1
ok 'it goes on after changes faster than grace' progress
exec 3>&-
wait $journey
is 'every message is acknowledged in the end' 0 $?
sed 's/^/# /' "$stage/said"

# ---- the record ----

told() {
    sed -n "s/.*$1 \([0-9]*\).*/\1/p" "$stage/told"
}
made=$(told made)
sed 's/^/# /' "$stage/told"
count() {
    awk "$1 { n++ } END { print n + 0 }" "$record"
}
is 'every message arrived' "$made" "$(count '$5 == "new"')"
is 'each lane in its order, without a gap' 0 "$(count '$5 == "gap"')"
is 'nothing but messages arrived' 0 "$(count '$3 == "?"')"
ok 'some messages went at once' test "$(told went)" -gt 0
ok 'some waited for a network' test "$(told deferred)" -gt 0
ok 'some moved the connection to another network' test "$(told executed)" -gt 0
ok 'the connection was made again and again' test "$(told connections)" -gt 10
if [ "$way" = hello ]; then
    is 'each message arrived exactly once' 0 "$(count '$5 == "again"')"
    is 'what only Wi-Fi may carry went by Wi-Fi' 0 "$(count '$3 == "a" && $1 != "10.1.0.2"')"
    is 'what only the mobile network may carry went by it' 0 "$(count '$3 == "b" && $1 != "10.2.0.2"')"
    ok 'messages that a lost network had swallowed were sent again' test "$(told again)" -gt 0
else
    # Unacknowledged means unacknowledged: repeats come first on a connection, before anything new.
    is 'repeats come only at the beginning of a connection' 0 "$(awk '
        $5 == "new" { fresh[$2] = 1 }
        $5 == "again" && fresh[$2] { late++ }
        END { print late + 0 }' "$record")"
fi
ok 'both networks carried some' test "$(count '$1 == "10.1.0.2"')" -gt 0 -a "$(count '$1 == "10.2.0.2"')" -gt 0
tap_end
