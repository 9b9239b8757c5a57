#!/bin/sh
# carried_programs.sh BUILD - real programs before a server that speaks Multipath TCP: their network goes down half-way
# through a file, and the same connection brings the rest by the other one.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1
halves=$(dirname "$0")/halves.py

mkdir "$stage/files"
head -c 6000000 /dev/urandom >"$stage/file"
world_server "$halves" "$stage/files" 8080 &
server_pid=$!
listens() {
    world_listens 8080 || ! alive $server_pid
}
within listens
alive $server_pid || world_skip 'no Multipath TCP in this kernel'
ip mptcp endpoint show >/dev/null 2>&1 || world_skip 'an ip without mptcp'
world_up wifi0
world_up wwan0
wifi_labels='all' cell_labels='ondemand, small'
world_scout "$build"

has() {
    ip mptcp endpoint show | grep -q "^$1 "
}
lost() {
    "$build/tools/cmm-ctl" networks | grep -q '^wifi *down'
}

# TITLE NAME COMMAND...: runs it for that file while wifi0 goes down half-way.
goes_on() {
    title=$1 name=$2
    shift 2
    world_up wifi0
    within has 10.1.0.2 && within has 10.2.0.2
    within "$build/tools/cmm-ctl" wait -t 0 background
    before=$(world_connections)
    "$@" 2>"$stage/said" &
    program=$!
    within test -e "$stage/files/$name.half"
    world_down wifi0
    within lost
    touch "$stage/files/$name.go"
    wait $program
    is "$title ends well" 0 $?
    is "$title is told nothing" '' "$(cat "$stage/said")"
    # The way joined is a connection of the kernel's, too.
    is "$title has made one connection, by two ways" $((before + 2)) "$(world_connections)"
}

# PROGRAM COMMAND...: fetches, to the file got.
fetches() {
    program_name=$1
    shift
    command -v "$program_name" >/dev/null || {
        skip "$program_name's file is whole" "$program_name is not installed"
        return
    }
    ln "$stage/file" "$stage/files/$program_name"
    goes_on "$program_name" "$program_name" "$@" "http://$server:8080/$program_name"
    ok "$program_name's file is whole" cmp "$stage/file" "$stage/got"
}

run="$build/tools/cmm-run --patience 120 -l ondemand -r tcp::8080=background+mptcp"
# shellcheck disable=SC2086 # a command
{
    fetches curl $run curl -sS -o "$stage/got"
    fetches wget $run wget -q -O "$stage/got"
    fetches busybox $run busybox wget -q -O "$stage/got"
    goes_on 'an upload' up $run curl -sS -T "$stage/file" "http://$server:8080/up"
}
ok 'the file sent is whole, too' cmp "$stage/file" "$stage/files/up"
tap_end
