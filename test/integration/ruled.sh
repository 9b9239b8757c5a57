#!/bin/sh
# ruled.sh BUILD - a network whose routes stand in a table of their own, which a rule opens to the network's own address
# only, as machines with two ways out are often set up: what is sent there goes by that address.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1
run=$build/tools/cmm-run ctl=$build/tools/cmm-ctl
command -v python3 >/dev/null || world_skip 'python3 is not installed'
world_up wwan0
ip -6 route del default dev wwan0 2>/dev/null
if ! { ip rule add from 10.2.0.2 table 42 && ip route add default via 10.2.0.1 dev wwan0 table 42; } 2>/dev/null; then
    world_skip 'no rules in this kernel'
fi
ip route del default dev wwan0
# Whoever takes the server to be on the link itself finds nobody.
world_server sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'

# Tells each who asks, by TCP and by UDP, by which address he came.
cat >"$stage/echo.py" <<'END'
import socket, threading
stream, datagrams = socket.create_server(("", 80)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("10.9.0.1", 80))
def answer():
    while True:
        peer = datagrams.recvfrom(100)[1]
        datagrams.sendto(peer[0].encode(), peer)
threading.Thread(target=answer, daemon=True).start()
while True:
    conn, peer = stream.accept()
    conn.sendall(peer[0].encode())
    conn.close()
END
# Asks, and once more at each line of standard input; a datagram again until it is answered.
cat >"$stage/ask.py" <<'END'
import socket, sys
to, ask, loose, tied = ("10.9.0.1", 80), 0, *(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "ab")
def asked(s, send):
    s.settimeout(1)
    while True:
        try:
            send()
            return s.recv(100).decode()
        except (TimeoutError, BlockingIOError):
            pass
tied.connect(to)
while True:
    with socket.create_connection(to) as s:
        print("stream", s.recv(100).decode(), flush=True)
    print("datagram", asked(loose, lambda: loose.sendto(b"?", to)), flush=True)
    print("connected", asked(tied, lambda: tied.send(b"?")), flush=True)
    if not sys.stdin.readline():
        break
END
world_server python3 "$stage/echo.py" &
within world_listens 80
world_scout "$build"
within "$ctl" wait -t 0 ondemand

mkfifo "$stage/lines"
"$run" -l ondemand python3 "$stage/ask.py" <"$stage/lines" >"$stage/got" 2>"$stage/told" &
program=$!
exec 9>"$stage/lines"
trap 'kill $program 2>/dev/null; rm -rf "$stage"' EXIT
# WHAT NUMBER: the address by which it came for the n-th time.
came() {
    within sh -c "[ \$(grep -c '^$1 ' '$stage/got') -ge $2 ] || ! kill -0 $program"
    sed -n "s/^$1 //p" "$stage/got" | sed -n "$2p"
    cat "$stage/told" >&2
}
is 'a stream goes by it' 10.2.0.2 "$(came stream 1)"
is 'a datagram, too' 10.2.0.2 "$(came datagram 1)"
is 'and that of a connected socket' 10.2.0.2 "$(came connected 1)"

world_up wifi0
within "$ctl" wait -t 0 background
world_down wwan0
within sh -c "! '$ctl' networks | grep -q '^cell  *up'"
echo >&9
is 'when it is lost a stream goes by the other' 10.1.0.2 "$(came stream 2)"
is 'the socket of a datagram goes there, too' 10.1.0.2 "$(came datagram 2)"
is 'and a connected one' 10.1.0.2 "$(came connected 2)"
tap_end
