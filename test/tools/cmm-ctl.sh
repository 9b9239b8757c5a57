#!/bin/sh
# cmm-ctl.sh CTL SCOUT RUN - what cmm-ctl promises, asked of a scout whose networks are host addresses.
# shellcheck disable=SC2016 # what sh -c expands
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
ctl=$1 scout=$2 run=$3
scout_pid='' waiter=''

tap_clean() {
    for pid in $waiter $scout_pid; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
}

# A look into the JSON that a command prints: an expression over `o`.
json() {
    expression=$1
    shift
    "$ctl" --json "$@" 2>/dev/null | python3 -c "
import json, sys
o = json.load(sys.stdin)
print($expression)"
}

is 'without a scout the exit code is 3, and the line says how to start one' \
    "3 cmm-ctl: no scout answers ($CMM_SCOUT: none there); start one: cmm-scout" "$(outcome "$ctl" status)"
is 'an unknown command is 2' "2 cmm-ctl: unknown command 'nosuch'; see cmm-ctl --help" "$(outcome "$ctl" nosuch)"
is 'no command is 2' '2 cmm-ctl: no command; see cmm-ctl --help' "$(outcome "$ctl")"
is 'a missing argument is 2' '2 cmm-ctl: usage: cmm-ctl wait LABELS' "$(outcome "$ctl" wait)"
is 'a superfluous argument is 2' '2 cmm-ctl: usage: cmm-ctl status' "$(outcome "$ctl" status now)"
is 'an unknown option is 2' "2 cmm-ctl: unrecognized option '--nosuch'" "$(outcome "$ctl" --nosuch)"
is 'a time that is none is 2' "2 cmm-ctl: -t wants seconds, not 'soon'" "$(outcome "$ctl" wait -t soon red)"
is '-t is for wait alone' '2 cmm-ctl: -t is for wait' "$(outcome "$ctl" -t 1 status)"

is 'so is a process that is none' "2 cmm-ctl: 'x' is not a process id" "$(outcome "$ctl" release x)"
is 'so is what a network cannot be set to' "2 cmm-ctl: 'metered=YES' is not metered=yes|no|auto nor labels=LIST|auto" \
    "$(outcome "$ctl" set lab metered=YES)"
is 'so is a network without its interface' "2 cmm-ctl: 'lab@' names no interface of 'lab'" "$(outcome "$ctl" up lab@)"
is 'so is an interface without its network' "2 cmm-ctl: '@wlan0' names no network" "$(outcome "$ctl" set @wlan0 metered=no)"
is 'so is a name that is none' "2 cmm-ctl: '' names no network" "$(outcome "$ctl" down '')"

cat >"$stage/scout.conf" <<'END'
[label backup]
bit = 40
[network lab]
address = 127.0.1.1
labels = all, backup
metric = 10
[network other]
address = 127.0.2.1
labels = ondemand
metered = yes
metric = 20
[scout]
hold-down = 0
END
echo '0 end' >"$stage/timetable"
start_scout() {
    "$scout" -c "$stage/scout.conf" --script "$stage/timetable" --name "$CMM_SCOUT" 2>>"$stage/scout.log" &
    scout_pid=$!
    within "$ctl" networks
}
kill_scout() {
    kill -9 $scout_pid
    wait $scout_pid 2>/dev/null
    scout_pid=''
}
start_scout

is 'a second scout of the name says so and is 1' "1 cmm-scout: a scout is already running at $CMM_SCOUT" \
    "$(outcome "$scout" -c "$stage/scout.conf" --name "$CMM_SCOUT")"
is 'status is for people' 0 "$(outcome "$ctl" status)"
is 'no line is wider than 80 columns' 0 "$("$ctl" status | awk 'length > 80' | wc -l | tr -d ' ')"
is 'status has scout, networks and subscribers' "['networks', 'scout', 'subscribers', 'version']" "$(json 'sorted(o)' status)"
is 'a network has the keys that the contract names' "['ifindex', 'labels', 'metered', 'metric', 'name', 'up']" \
    "$(json 'sorted(o["networks"][0])' networks)"
is 'version is 1' 1 "$(json 'o["version"]' networks)"
is 'cmm-run hands on the names of a configuration whose labels it was asked for' 'backup backup=40' \
    "$("$run" -l backup sh -c 'echo $CMM_LABELS $CMM_NAMES')"
is '--print-env has them for a unit that comes before the scout' backup=40 \
    "$(eval "$("$run" -r tcp::22=backup --print-env)" && echo "$CMM_NAMES")"
is 'and no others' '' "$("$run" -l red sh -c 'echo $CMM_NAMES')"
is 'labels have names and bits' "{'name': 'backup', 'bit': 40}" "$(json 'o["labels"][-1]' labels)"
is 'a network that is down is not up' 'False False' "$(json '*[n["up"] for n in o["networks"]]' networks | tr -d ,)"
is 'an unknown label is 2 and one line' "2 cmm-ctl: unknown label 'nosuch'" "$(outcome "$ctl" wait red,nosuch)"
is 'wait is 1 when the time is over' '1 cmm-ctl: no network for red in 0.05 s' "$(outcome "$ctl" wait -t 0.05 red)"

"$ctl" wait backup &
waiter=$!
within sh -c '"$1" why "$2" | grep -q backup' - "$ctl" $waiter
is 'who waits is a subscriber, with the labels waited for' "['backup']" \
    "$(json '[s["waiting"] for s in o["subscribers"] if s["pid"] == '$waiter'][0]' subscribers)"
is 'a subscriber has the keys that the contract names' \
    "['pid', 'program', 'since', 'sockets', 'thunks', 'waiting']" "$(json 'sorted(o["subscribers"][0])' subscribers)"
is 'since when is a time of this day' True "$(json 'abs(o["subscribers"][0]["since"] - __import__("time").time()) < 86400' subscribers)"
is 'why names the network that would release it, and no other' lab "$(json '*[n["name"] for n in o["networks"]]' why $waiter)"
like 'why says so to people' '*lab would release it*' "$("$ctl" why $waiter)"
is 'a process that does not wait is 1' 1 "$(outcome "$ctl" why 1 | cut -d ' ' -f 1)"
is 'what is neither a process id nor labels is 2' \
    "2 cmm-ctl: 'x' is neither a process id nor labels: unknown label 'x'" "$(outcome "$ctl" why x)"
like 'why tells of labels, too, what each network lacks' '*lab would carry it: withdrawn*other would not: it does not offer backup*' \
    "$("$ctl" why backup)"
is 'why with labels names who waits for them' $waiter "$(json '*[s["pid"] for s in o["subscribers"]]' why backup)"
like 'and since when' "*cmm-ctl (pid $waiter) waits for backup, for * s: 1 operation*" "$("$ctl" why backup)"
name=$(printf 'b\303\274 \033')
ln -s "$(python3 -c 'import sys; print(sys.executable)')" "$stage/$name"
"$run" -r 192.0.2.1=cellular "$stage/$name" -c 'import socket; socket.socket().connect(("192.0.2.1", 9))' &
other=$!
within "$ctl" why $other
is 'the name of a program keeps its letters, and no blank or control character' "'b\\xfc??'" \
    "$(json '*[ascii(s["program"]) for s in o["subscribers"] if s["pid"] == '$other']' subscribers)"
like 'a terminal gets them escaped' '*b\\xc3\\xbc??*' "$("$ctl" subscribers)"
kill $other
is 'release needs a network that is up' '1 cmm-ctl: no network is up: there is nothing to go by' \
    "$(outcome "$ctl" release $waiter)"

is 'up is done at once' 0 "$(outcome "$ctl" up lab)"
wait $waiter
is 'wait is 0 when a matching network is there' 0 $?
waiter=''
is 'wait with --json names the network' lab "$(json '*[n["name"] for n in o["networks"]]' wait backup)"
is 'wait for what is there returns at once' 0 "$(outcome "$ctl" wait -t 0 ondemand,small)"
is 'wait for labels that no single network has is 1' 1 "$(outcome "$ctl" wait -t 0 backup,cellular | cut -d ' ' -f 1)"
"$ctl" --json wait cellular >"$stage/waited" &
waiter=$!
within sh -c '"$1" why "$2" | grep -q cellular' - "$ctl" $waiter
is 'a wait is released, too' 0 "$(outcome "$ctl" release $waiter)"
wait $waiter
is 'it is over then, and names what is up' '0 lab' \
    "$? $(sed -n 's/.*"networks":\[{"name":"\([^"]*\)"[^}]*}\]}/\1/p' "$stage/waited")"
waiter=''
is 'release of who is not there is 1' '1 cmm-ctl: process 1 is not known to the scout' "$(outcome "$ctl" release 1)"
is 'down withdraws it' 0 "$(outcome "$ctl" down lab)"
is 'withdrawn is not up' False "$(json '*[n["up"] for n in o["networks"] if n["name"] == "lab"]' networks)"
is 'auto gives it back to the script' 0 "$(outcome "$ctl" auto lab)"
is 'set changes what a network is like' 0 "$(outcome "$ctl" set other metered=no labels=all,backup)"
is 'and it shows' "False ['red', 'blue', 'ondemand', 'background', 'small', 'large', 'unmetered', 'backup']" \
    "$(json '*[(n["metered"], n["labels"]) for n in o["networks"] if n["name"] == "other"][0]' networks)"
is 'set with auto takes that back' 0 "$(outcome "$ctl" set other metered=auto labels=auto)"
is 'and that shows, too' "True ['ondemand']" \
    "$(json '*[(n["metered"], n["labels"]) for n in o["networks"] if n["name"] == "other"][0]' networks)"
is 'set of an unknown network is 1' "1 cmm-ctl: unknown network 'nosuch'" "$(outcome "$ctl" set nosuch metered=no)"
is 'set of an unknown label is 2' "2 cmm-ctl: unknown label 'nosuch'" "$(outcome "$ctl" set lab labels=nosuch)"
is 'set of something else is 2' "2 cmm-ctl: 'speed=9' is not metered=yes|no|auto nor labels=LIST|auto" \
    "$(outcome "$ctl" set lab speed=9)"
is 'an unknown network is 1' 1 "$(outcome "$ctl" up nosuch | cut -d ' ' -f 1)"
is 'cmm-run asks the scout for its labels' backup "$("$run" -l backup env 2>/dev/null | sed -n 's/^CMM_LABELS=//p')"
is 'and what the scout does not know is 125' "125 cmm-run: unknown label 'nosuch'" "$(outcome "$run" -l nosuch true)"

"$ctl" --json watch >"$stage/events" &
waiter=$!
within sh -c '"$1" up lab; "$1" down lab; grep -q lab "$2"' - "$ctl" "$stage/events"
ok 'watch prints a JSON object a line' python3 -c '
import json, sys
for line in open(sys.argv[1]):
    assert {"version", "at", "event"} <= set(json.loads(line)), line' "$stage/events"
kill $waiter
wait $waiter 2>/dev/null
waiter=''
is 'what names no part prints an object without one' '{"version":1}' "$("$ctl" --json reload)"
is 'reload is done' 0 "$(outcome "$ctl" reload)"
is '--scout takes a path' 0 "$(env -u CMM_SCOUT sh -c '"$1" --scout "$2" networks >/dev/null; echo $?' - "$ctl" "$CMM_SCOUT")"

"$ctl" --json watch >"$stage/events" &
waiter=$!
within sh -c '"$1" up lab; "$1" auto lab; grep -q lab "$2"' - "$ctl" "$stage/events"
kill_scout
start_scout
within sh -c '"$1" up other; "$1" auto other; sed "1,/scout came/d" "$2" | grep -q other' - "$ctl" "$stage/events"
is 'watch goes on with the next scout, and says so' 'scout gone,scout came,network other' \
    "$(sed -n '/scout gone/,$s/.*"event":"\(scout [a-z]*\|network other\).*/\1/p' "$stage/events" | head -n 3 | paste -s -d ,)"
kill $waiter
wait $waiter 2>/dev/null
"$ctl" wait backup &
waiter=$!
within sh -c '"$1" why "$2" | grep -q backup' - "$ctl" $waiter
kill_scout
start_scout
within sh -c '"$1" why "$2" | grep -q backup' - "$ctl" $waiter
"$ctl" up lab
wait $waiter
is 'wait rides out a restart of the scout' 0 $?
waiter=''
"$ctl" auto lab
# SECONDS: what comes of a wait whose scout dies in the middle.
wait_bereaved() {
    "$ctl" wait -t "$1" backup 2>"$stage/waited" &
    waiter=$!
    within sh -c '"$1" why "$2" | grep -q backup || ! kill -0 "$2"' - "$ctl" $waiter
    kill_scout
    wait $waiter
    waited="$? $(cat "$stage/waited")"
    waiter=''
}
seconds=1
wait_bereaved $seconds
while [ "$waited" = "1 cmm-ctl: no network for backup in $seconds s" ]; do # it was over before: that proves nothing
    seconds=$((seconds * 2))
    start_scout
    wait_bereaved $seconds
done
is 'wait is 3 when its scout stays away' \
    "3 cmm-ctl: no scout answers ($CMM_SCOUT: none there); start one: cmm-scout" "$waited"

printf '0 up lab\n0.1 labels lab ondemand\n0.3 loop\n' >"$stage/timetable"
start_scout
within sh -c '"$1" networks | grep -q "^lab .* ondemand,unmetered$"' - "$ctl"
is 'a timetable that begins again does so with the labels of the configuration' 0 "$(outcome "$ctl" wait -t 10 backup)"
tap_end
