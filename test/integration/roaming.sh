#!/bin/sh
# roaming.sh BUILD AIR - one Wi-Fi interface at one access point after the other, where there is no radio: the library
# AIR answers the scout's questions to nl80211; carrier and addresses are a real link's. See also ssid.sh.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1 air=$2
ctl=$build/tools/cmm-ctl
export CMM_TEST_AIR="$stage/air"
cat >"$stage/scout.conf" <<'END'
[network home]
match = wifi*
ssid = Home
[network office]
match = wifi*
ssid = "Office # 1"
[network elsewhere]
match = wifi*
[scout]
hold-down = 0
grace = 60
END
LD_PRELOAD=$air "$build/scout/cmm-scout" -c "$stage/scout.conf" --name "$CMM_SCOUT" 2>"$stage/scout.log" &
scout=$!
within "$ctl" status
tap_clean() {
    kill "$scout"
}

# The carrier goes, and comes with what is joined then: "interface NAME" or "scan NAME".
join() {
    ip -n server link set wifi0-end down
    within gone
    printf '%s\n' "$1" >"$CMM_TEST_AIR"
    ip -n server link set wifi0-end up
}
up() {
    "$ctl" networks | sed -n 's/^\([a-z]*\) *up .*/\1/p' | xargs
}
gone() {
    [ -z "$(up)" ]
}
is_up() {
    [ "$(up)" = "$1" ]
}
# TEXT NETWORK JOINED
goes_to() {
    join "$3"
    within is_up "$2"
    is "$1" "$2" "$(up)"
}
# It is said to be down, once at the start, when it is given up before the new one is whole.
others() {
    grep -cE 'elsewhere (is another one now|down)' "$stage/scout.log"
}
has_others() {
    [ "$(others)" = "$1" ]
}

world_up wifi0
goes_to 'the name of what is joined decides' home 'interface Home'
goes_to 'another name on the same interface, with the same address, is another network' office 'interface Office # 1'
goes_to 'also where only a scan tells it' home 'scan Home'
goes_to 'one that no section names goes to the next that matches' elsewhere 'scan Cafe'
goes_to 'a blip at one access point is a blip' elsewhere 'scan Cafe'
is 'and no other network' 1 "$(others)"
goes_to 'another access point in one section' elsewhere 'interface Station'
within has_others 2
is 'is another network, also within grace' 2 "$(others)"
goes_to 'and back' home 'interface Home'
ip -n server link set wifi0-end down
: >"$CMM_TEST_AIR"
within gone
like 'when the connection is lost the network is in its grace' '*home *grace *' "$("$ctl" networks)"
tap_end
