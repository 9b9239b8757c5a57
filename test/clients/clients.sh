#!/bin/sh
# clients.sh BUILD still|late|lost - real programs, none of them changed, each asked for the same thing.
# still: networks stay as they are; output and exit code are those without the shim. late: the program is begun while
# no network matches, and waits for one. lost: its network goes in the middle, and another is there: a stream ends in
# an error, and whoever tries again goes by the other network. What is not installed is skipped aloud.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/../integration/world.sh"
build=$1 kind=$2
files=$stage/files

# ---- the servers ----

mkdir "$files"
head -c 300000 /dev/urandom | od -An -tx1 >"$files/text"
serve_lines() {
    command -v socat >/dev/null || return 0
    # In the middle: what never ends, until the network does.
    world_server socat TCP-LISTEN:9001,fork,reuseaddr SYSTEM:"read -r line; cat '$files/text'" 2>/dev/null &
    world_server socat TCP-LISTEN:9002,fork,reuseaddr SYSTEM:"read -r line; echo begun; sleep 1000" 2>/dev/null &
    within 10 world_listens 9001 && within 10 world_listens 9002
}
serve_redis() {
    command -v redis-server >/dev/null || return 0
    world_server redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save '' --dir "$stage" >/dev/null 2>&1 &
    within 10 world_listens 6379
}
serve_git() {
    command -v git >/dev/null || return 0
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
    git init -q "$stage/work" && cp "$files/text" "$stage/work" &&
        (cd "$stage/work" && git add text && git -c user.name=a -c user.email=a@b commit -q -m first) &&
        git clone -q --bare "$stage/work" "$files/repository.git" &&
        git -C "$files/repository.git" update-server-info
}
serve_iperf() {
    command -v iperf3 >/dev/null || return 0
    world_server iperf3 -s >/dev/null 2>&1 &
    within 10 world_listens 5201
}
world_http "$files" || world_skip 'no web server'
serve_lines && serve_redis && serve_git && serve_iperf || exit 1

# ---- what each program is asked ----

# NAME NEEDED-COMMAND: its task in ask_NAME, run by a shell with $prefix before each program; in the middle of a
# transfer in hang_NAME.
programs='curl wget nc socat redis git python bash iperf3 ssh'
needs_of() {
    case $1 in
    redis) echo redis-cli ;;
    python) echo python3 ;;
    ssh) echo sshd ;;
    *) echo "$1" ;;
    esac
}
# shellcheck disable=SC2016 # expanded by the shell that runs it
task_of() {
    case $1 in
    curl) echo '$prefix curl -sS http://$server/text' ;;
    wget) echo '$prefix wget -q -O - http://$server/text' ;;
    nc) echo 'echo give | $prefix nc $server 9001' ;;
    socat) echo 'echo give | $prefix socat -t 30 - TCP:$server:9001' ;;
    redis) echo '$prefix redis-cli -h $server set key value; $prefix redis-cli -h $server get key' ;;
    git) echo 'rm -rf $stage/clone; $prefix git clone -q http://$server/repository.git $stage/clone && cat $stage/clone/text' ;;
    python) echo '$prefix python3 -c "import sys, urllib.request
sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())" http://$server/text' ;;
    bash) echo '$prefix bash -c "exec 3<>/dev/tcp/$server/9001; echo give >&3; cat <&3"' ;;
    iperf3) echo '$prefix iperf3 -c $server -n 2M >/dev/null' ;;
    esac
}
# shellcheck disable=SC2016,SC2028 # as above; Python's \n
endless_of() {
    case $1 in
    curl) echo '$prefix curl -sSN --http0.9 telnet://$server:9002 <$stage/give' ;;
    nc) echo 'echo give >&4; $prefix nc $server 9002 <&4' ;;
    socat) echo 'echo give >&4; $prefix socat - TCP:$server:9002 <&4' ;;
    redis) echo '$prefix redis-cli -h $server subscribe channel' ;;
    python) echo '$prefix python3 -u -c "import socket, sys
s = socket.create_connection((sys.argv[1], 9002)); s.sendall(b\"give\\n\")
while True:
    got = s.recv(100)
    if not got: sys.exit(3)
    print(got.decode(), end=\"\")" $server' ;;
    bash) echo '$prefix bash -c "exec 3<>/dev/tcp/$server/9002; echo give >&3; while read -r line <&3; do echo \$line; done; exit 4"' ;;
    iperf3) echo '$prefix iperf3 -c $server -t 1000 --forceflush' ;;
    esac
}

# Exit code and what it says when its connection is reset: nc and socat take it for an end.
reset_of() {
    case $1 in
    curl) echo '56 *reset*' ;;
    nc | socat) echo '0 *' ;;
    redis | iperf3) echo '1 *reset*' ;;
    python) echo '1 *ConnectionResetError*' ;;
    bash) echo '4 *reset*' ;;
    esac
}

# PREFIX TASK: runs it; its output in $stage/out, the exit code is its own.
perform() {
    prefix=$1 server=$server stage=$stage sh -c "$2" >"$stage/out" 2>"$stage/err" </dev/null
}
export stage server
somebody_waits() {
    "$build/tools/cmm-ctl" subscribers | grep -q "$1"
}
gone() {
    ! "$build/tools/cmm-ctl" wait -t 0 "$1"
}

still() {
    perform '' "$(task_of "$1")"
    plain=$?
    is "$1: works without the shim" 0 $plain
    mv "$stage/out" "$stage/plain.out"
    mv "$stage/err" "$stage/plain.err"
    perform "$build/tools/cmm-run -l background" "$(task_of "$1")"
    is "$1: its exit code is the same with and without the shim" "$plain" $?
    ok "$1: its output is the same" cmp "$stage/plain.out" "$stage/out"
    is "$1: its errors are the same" "$(cat "$stage/plain.err")" "$(cat "$stage/err")"
}

late() {
    perform '' "$(task_of "$1")"
    plain=$?
    is "$1: works without the shim" 0 $plain
    mv "$stage/out" "$stage/plain.out"
    world_down wifi0
    within 20 gone background
    perform "$build/tools/cmm-run -l background" "$(task_of "$1")" &
    waiting=$!
    ok "$1: waits" within 20 somebody_waits background
    world_up wifi0
    wait $waiting
    is "$1: does what it does once its network is there" "$plain" $?
    ok "$1: its output is the same" cmp "$stage/plain.out" "$stage/out"
    within 20 "$build/tools/cmm-ctl" wait -t 0 background
}

begun() {
    [ -s "$stage/out" ]
}
ended() {
    [ -e "$stage/ended" ]
}
# It tries again, and goes on where it was, by the other network.
lost_wget() {
    command -v nginx >/dev/null || {
        skip 'wget: goes on by the other network' 'nginx is not installed'
        return
    }
    "$build/tools/cmm-run" -l ondemand wget -q -O "$stage/out" "http://$server/slow/text" &
    waiting=$!
    ok 'wget: has begun' within 20 begun
    world_down wifi0
    wait $waiting
    is 'wget: tries again and ends well' 0 $?
    is 'wget: went on by the other network' wwan0 "$(world_served /slow/text)"
    ok 'wget: its file is whole' cmp "$files/text" "$stage/out"
    world_up wifi0
    within 20 "$build/tools/cmm-ctl" wait -t 0 background
}

lost() {
    rm -f "$stage/ended" "$stage/out"
    [ "$1" != wget ] || lost_wget
    [ -n "$(endless_of "$1")" ] || return 0
    (
        perform "$build/tools/cmm-run -l ondemand" "$(endless_of "$1")"
        echo $? >"$stage/ended"
    ) &
    ok "$1: has begun" within 20 begun
    world_down wifi0
    ok "$1: is told" within 20 ended
    like "$1: as by a peer's reset" "$(reset_of "$1")" "$(cat "$stage/ended") $(tr '\r\n' '  ' <"$stage/err")"
    world_up wifi0
    within 20 "$build/tools/cmm-ctl" wait -t 0 background
}

echo give >"$stage/give"
mkfifo "$stage/keyboard" && exec 4<>"$stage/keyboard"
world_up wifi0
world_up wwan0
world_scout "$build" || exit 1
within 20 "$build/tools/cmm-ctl" wait -t 0 background
for program in ${CMM_CLIENTS-$programs}; do
    if command -v "$(needs_of "$program")" >/dev/null; then
        $kind "$program"
    else
        skip "$program" "$(needs_of "$program") is not installed"
    fi
done
tap_end
