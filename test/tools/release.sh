#!/bin/sh
# release.sh CTL SCOUT RUN - what waits in a process is let go by any network, and what others wait for is not.
# shellcheck disable=SC2016 # what sh -c expands
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
ctl=$1 scout=$2 run=$3
scout_pid='' server=''

tap_clean() {
    for pid in $server $scout_pid; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
}

cat >"$stage/scout.conf" <<'END'
[network lab]
address = 127.0.1.1
labels = red
[network big]
address = 127.0.2.1
labels = all
END
"$scout" -c "$stage/scout.conf" --name "$CMM_SCOUT" 2>"$stage/scout.log" &
scout_pid=$!
within "$ctl" networks
"$ctl" down big

# Says from where it was reached, for two datagrams or connections each.
cat >"$stage/server.py" <<'END'
import os, select, socket, sys
stream, datagram = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagram.bind(stream.getsockname())
with open(sys.argv[1] + ".new", "w") as f:
    f.write(str(stream.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    for s in select.select([stream, datagram], [], [])[0]:
        if s is stream:
            c, peer = s.accept()
            c.sendall(peer[0].encode())
            c.close()
        else:
            s.sendto(b"", (peer := s.recvfrom(9)[1]))
END
python3 "$stage/server.py" "$stage/port" &
server=$!
within test -e "$stage/port"
port=$(cat "$stage/port")
cat >"$stage/stream.py" <<'END'
import socket, sys
print(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(99).decode())
END
cat >"$stage/datagram.py" <<'END'
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"", ("127.0.0.1", int(sys.argv[1])))
print(s.getsockname()[0])
END

# KIND VERB [WORDS]: the process waits, started by these words, and goes on when told so.
waits_then() {
    kind=$1 verb=$2
    shift 2
    "$run" -l background -r 127.0.0.0/8=background "$@" python3 "$stage/$kind.py" "$port" >"$stage/out" &
    pid=$!
    within sh -c '"$1" why "$2" | grep -q "^  background"' - "$ctl" $pid
    $verb
    wait $pid
    cat "$stage/out"
}
let_go() {
    "$ctl" release "$pid" || echo 'release failed'
}
big_is_back() {
    "$ctl" auto big
}

# It is told at most every 50 ms.
since() {
    "$ctl" --json subscribers | python3 -c "import json, sys; print([s['since'] for s in json.load(sys.stdin)['subscribers'] if s['pid'] == $pid])"
}
after_other_news() {
    began=$(since)
    for turn in 1 2 3 4 5 6 7 8; do
        "$ctl" down lab && "$ctl" auto lab
        [ "$(since)" = "$began" ] || echo "began anew in turn $turn"
    done
    big_is_back
}

is 'a released connection goes by the network that is there' 127.0.1.1 "$(waits_then stream let_go)"
is 'the next one waits for its own network again' 127.0.2.1 "$(waits_then stream big_is_back)"
"$ctl" down big
is 'who has only started what waits stands for it' 127.0.1.1 "$(waits_then stream let_go sh -c '"$@"; exit' -)"
is 'a released datagram goes, too' 127.0.1.1 "$(waits_then datagram let_go)"
# Whoever this machine asks for names need not answer.
export RES_OPTIONS='timeout:1 attempts:1'
cat >"$stage/lookup.py" <<'END'
import socket
for name in "localhost", "waits.invalid":  # the former is at home and does not wait, be it known here or not
    try:
        socket.gethostbyname(name)
    except socket.gaierror:
        pass
    print(name)
END
is 'a lookup that waits is told of' 'localhost waits.invalid' "$(waits_then lookup big_is_back | xargs)"
"$ctl" down big
cat >"$stage/named.py" <<'END'
import socket, sys
try:
    socket.gethostbyname("waits.invalid")
except socket.gaierror:
    pass
print(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(99).decode())
END
is 'a lookup that is released takes its connection along' 127.0.1.1 "$(waits_then named let_go)"
is 'a connection waits since it began, whatever happens elsewhere' 127.0.2.1 "$(waits_then stream after_other_news)"
"$ctl" down big
is 'so does a datagram' 127.0.2.1 "$(waits_then datagram after_other_news)"
"$ctl" down big
is 'and a lookup' 'localhost waits.invalid' "$(waits_then lookup after_other_news | xargs)"
"$ctl" down big
"$ctl" down lab
is 'with no network there is nothing to go by' '1 cmm-ctl: no network is up: there is nothing to go by' \
    "$(outcome "$ctl" release $$)"
tap_end
