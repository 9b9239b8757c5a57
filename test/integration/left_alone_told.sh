#!/bin/sh
# left_alone_told.sh BUILD - what is left alone because of its route is told by -v, why and status: by which
# interface. A real tunnel (as good as the kernel has one) and a real bridge.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1
run=$build/tools/cmm-run ctl=$build/tools/cmm-ctl
command -v python3 >/dev/null || world_skip 'python3 is not installed'

ip tuntap add dev tun0 mode tun 2>/dev/null || ip link add tun0 type veth peer name over-there || world_skip 'no tunnel'
ip addr add 10.77.0.2/24 dev tun0 && ip link set tun0 up
ip link add docker0 type bridge 2>/dev/null || ip link add docker0 type veth peer name container || world_skip 'no bridge'
ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
world_up wwan0
world_scout "$build" || {
    cat "$stage/scout.log"
    exit 1
}
within "$ctl" wait -t 0 ondemand

# Connects to each of its arguments without waiting for an answer, says where from, and stays.
cat >"$stage/dial.py" <<'END'
import socket, sys, time
socks = []
for to in sys.argv[1:]:
    family, address = (socket.AF_INET6, to) if ":" in to else (socket.AF_INET, to)
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setblocking(False)
    s.connect_ex((address, 9))
    print(to, s.getsockname()[0], flush=True)
    socks.append(s)
time.sleep(600)
END

"$run" -v -l background python3 "$stage/dial.py" 10.77.0.9 172.17.0.2 ::ffff:10.77.0.8 10.9.0.1 \
    >"$stage/names" 2>"$stage/told" &
program=$!
trap 'kill $program 2>/dev/null; rm -rf "$stage"' EXIT
# CONDITION...: of what `why` says.
why_says() {
    "$ctl" why $program | grep -qx "$1"
}
ok 'why tells of the tunnel' within why_says '  left alone: route by tun0'
ok 'why tells of the bridge' within why_says '  left alone: route by docker0'
ok 'and what else waits is told too' within sh -c "'$ctl' why $program | grep -q '^  background, for '"
within grep -q '^10.9.0.1 ' "$stage/names" # it is told after the connect, and is the last
is 'the tunnel'\''s address is the source' 'tun: 10.77.0.2 ::ffff:10.77.0.2' \
    "tun: $(sed -n 's/^10.77.0.9 //p' "$stage/names") $(sed -n 's/^::ffff:10.77.0.8 //p' "$stage/names")"
is 'the bridge'\''s address is the source' 172.17.0.1 "$(sed -n 's/^172.17.0.2 //p' "$stage/names")"
is 'what waits has no source yet' 0.0.0.0 "$(sed -n 's/^10.9.0.1 //p' "$stage/names")"
like 'status says so' '*left alone: route by tun0*left alone: route by docker0*' "$("$ctl" status)"
is 'within columns' 0 "$("$ctl" status | awk 'length > 80' | wc -l | tr -d ' ')"
like 'JSON names the interfaces' '*"left_alone":?"tun0","docker0"?*' "$("$ctl" --json why $program)"
is '-v says so, a line a connection' "$(printf '%s\n' 'left alone: route by tun0' 'left alone: route by docker0' \
    'left alone: route by tun0')" "$(sed -n "s/^cmm\[$program\]: \(left alone: .*\)/\1/p" "$stage/told")"

ip link set wifi0 up && world_up wifi0
within "$ctl" wait -t 0 background
"$run" -v -l background -r 10.77.0.0/24=background python3 "$stage/dial.py" 10.77.0.9 >"$stage/ruled.names" 2>"$stage/ruled.told" &
ruled=$!
trap 'kill $program $ruled 2>/dev/null; rm -rf "$stage"' EXIT
within grep -q . "$stage/ruled.names"
is 'a rule overrides it' '10.77.0.9 10.1.0.2' "$(cat "$stage/ruled.names")"
is 'and nothing is said of it' '' "$(grep 'left alone' "$stage/ruled.told")"
tap_end
