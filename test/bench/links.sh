#!/bin/sh
# links.sh BUILD LINKS [RUNS] - from a link's change to the first byte at the server: a table, in milliseconds.
# BUILD is a build directory, LINKS the program built from links.c. Nothing is asserted.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/../integration/world.sh"
build=$1 links=$2 runs=${3:-30}

# The way to the server is a part of the address: it comes back with the link, in one piece.
ip addr add 10.1.0.3 peer $server/32 dev wifi0
ip addr add 10.2.0.3 peer $server/32 dev wwan0
# shellcheck disable=SC2034 # world_scout's
wifi_labels='blue, ondemand' cell_labels='red, ondemand'

# TITLE FIGURE RUNS [OPTION=VALUE...]: under a scout with these options.
figure() {
    title=$1 what=$2 times=$3
    shift 3
    ip link set wifi0 down
    ip link set wwan0 down
    world_scout "$build" "$@" || exit 1
    "$links" "$what" "$times" "$title" || echo "$title: failed"
    kill "$scout"
    wait "$scout" 2>/dev/null
}

printf '%-64s %5s %9s %9s %9s %9s\n' 'milliseconds' runs least median 90% most
figure 'link up to first byte: who listens to the kernel himself (floor)' floor-up "$runs" grace=0
figure 'link up to first byte of a deferred send, hold-down 0' up "$runs" grace=0
figure 'the same, hold-down 0.5 (default)' up "$((runs / 3))" grace=0 hold-down=0.5
figure 'link down to first byte by the other: the same listener (floor)' floor-down "$runs" grace=0
figure 'link down to first byte by the other network, grace 0' down "$runs" grace=0
figure 'the same, grace 1.0 (default)' down "$((runs / 3))" grace=1.0
