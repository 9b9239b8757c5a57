#!/bin/sh
# networks.sh BUILD - what the scout makes of links, addresses and routes, step by step, and what it says is lacking.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1
ctl=$build/tools/cmm-ctl
cat >"$stage/scout.conf" <<'END'
[network wifi]
match = wifi0
labels = red            # nobody else offers it
[network office]
match = wwan*
address = 10.2.0.0/24
labels = blue
[network home]
match = wwan*
labels = small
[network vpn]
match = tun0
labels = large
[network ports]
match = br0
labels = background
[network checked]
match = far*
labels = ondemand
check = 10.9.0.1:80
[scout]
hold-down = 0
grace = 0
END
start_scout() {
    "$build/scout/cmm-scout" -c "$stage/scout.conf" --name "$CMM_SCOUT" 2>>"$stage/scout.log" &
    scout_pid=$!
    within "$ctl" status
}
tap_clean() {
    kill "$scout_pid"
}

# LABEL: what `why` says of the network that offers it.
why() {
    "$ctl" why "$1" | sed -n 's/^    [^ ]* would carry it: //p'
}
says() {
    [ "$(why "$1")" = "$2" ]
}
# TEXT LABEL EXPECTED: as soon as the kernel's news are through.
becomes() {
    within says "$2" "$3"
    is "$1" "$3" "$(why "$2")"
}
number() {
    "$ctl" --json networks | python3 -c "
import json, sys
print(*[n['$2'] for n in json.load(sys.stdin)['networks'] if n['name'] == '$1'])"
}

ip addr flush dev wifi0
start_scout
becomes 'a link that is down lacks its link' red 'down, its link is down or has no carrier'
ip -n server link set wifi0-end down
ip link set wifi0 up
becomes 'one without carrier, too' red 'down, its link is down or has no carrier'
ip -n server link set wifi0-end up
becomes 'with carrier it lacks an address' red 'down, it has no usable address'
ip addr add 169.254.7.7/16 dev wifi0
ip addr add 10.1.0.2/32 dev wifi0
becomes 'a link-local address is none, and an address without a route is not enough' red 'down, it has an address, but no route'
# The kernel has no other news that would have the routes looked at again.
within sh -c '! ip -6 address show tentative | grep -q .'
if ip nexthop add id 7 dev wifi0 && ip route add 10.1.0.0/24 nhid 7; then
    becomes 'a route by an object of the kernel'\''s is one' red 'it is up, for IPv4, without a default route'
    ip nexthop del id 7
    becomes 'and goes with it' red 'down, it has an address, but no route'
else
    skip 'a route by an object of the kernel'\''s is one' 'it has none'
fi
ip route add 10.1.0.0/24 dev wifi0
becomes 'a route makes it a network' red 'it is up, for IPv4, without a default route'
ip route add default via 10.1.0.1 dev wifi0 metric 77
becomes 'with a default route it is whole' red 'it is up, for IPv4'
is 'the metric is the route'\''s' 77 "$(number wifi metric)"
ip route add default via 10.1.0.1 dev wifi0 table 100
ip route add default via 10.1.0.1 dev wifi0 metric 78
ip route del default metric 77
has_metric() {
    [ "$(number wifi metric)" = "$1" ]
}
ok 'the main table'\''s' within has_metric 78
ip route flush table 100
ip route del default
becomes 'a change of routes alone is noticed' red 'it is up, for IPv4, without a default route'
ip route flush dev wifi0
becomes 'without any route it is no network' red 'down, it has an address, but no route'
ip addr flush dev wifi0
ip addr add 10.1.0.2 peer 10.1.0.9 dev wifi0
becomes 'a point-to-point link has its own address, and a route to its peer' red 'it is up, for IPv4, without a default route'

ip addr add 10.1.0.2 peer 10.1.0.8 dev wifi0
ip addr del 10.1.0.2 peer 10.1.0.8 dev wifi0
ip route add default via 10.1.0.9 dev wifi0
becomes 'an address that was there for two peers is there for the other still' red 'it is up, for IPv4'
ip route del default
ip addr add 10.1.7.2/24 dev wifi0 scope host
ip addr del 10.1.0.2 peer 10.1.0.9 dev wifi0
becomes 'an address for the machine itself is not usable' red 'down, it has no usable address'
ip addr flush dev wifi0
ip addr add 10.1.0.2 peer 10.1.0.9 dev wifi0
becomes 'the other is usable again' red 'it is up, for IPv4, without a default route'

# ---- identity ----

ip addr add 10.1.5.2/24 dev wifi0
ip addr del 10.1.0.2 peer 10.1.0.9 dev wifi0
ok 'another address on the same link is another network' within grep -q 'network wifi is another one now' "$stage/scout.log"

# ---- IPv6 ----

ip addr flush dev wifi0
becomes 'without an address it is none' red 'down, it has no usable address'
if ip addr add fd00:1::2/64 dev wifi0 nodad 2>/dev/null; then
    ip -6 route add default via fd00:1::1 dev wifi0
    becomes 'an IPv6 address and a route are enough' red 'it is up, for IPv6'
    ip addr change fd00:1::2/64 dev wifi0 nodad preferred_lft 0
    becomes 'a deprecated address is not' red 'down, it has no usable address'
    ip addr change fd00:1::2/64 dev wifi0 nodad preferred_lft forever
    becomes 'one that is preferred again is' red 'it is up, for IPv6'
    ip addr flush dev wifi0
    becomes 'with none left it is none again' red 'down, it has no usable address'
    echo 1 >/proc/sys/net/ipv6/conf/wifi0/accept_dad
    echo 3 >/proc/sys/net/ipv6/conf/wifi0/dad_transmits # seconds
    ip addr add fd00:1::3/64 dev wifi0
    # Nobody has said yet that the address is free.
    is 'a tentative address is not usable' 'down, it has no usable address' "$(why red)"
    ip -6 route replace default via fd00:1::1 dev wifi0
    becomes 'until it is known to be unique' red 'it is up, for IPv6'
else
    skip 'IPv6 addresses' 'no IPv6 here'
fi

# ---- sections ----

ip link set wwan0 up
becomes 'the first section that matches wins' blue 'it is up, for IPv4 and IPv6, without a default route'
is 'and the next one has it not' 'down, no interface of it is there' "$(why small)"
ip addr del 10.2.0.2/24 dev wwan0
becomes 'with another address another section matches' small 'it is up, for IPv6, without a default route'
ip addr add 10.7.0.2/24 dev wwan0
becomes 'and keeps it' small 'it is up, for IPv4 and IPv6, without a default route'

cp "$stage/scout.conf" "$stage/kept.conf"
printf '[network any]\nmatch = w*\n' >"$stage/scout.conf"
"$ctl" reload
like 'of several of one name why says which' '*any@wifi0 would carry it*any@wwan0 would carry it*' "$("$ctl" why small)"
cp "$stage/kept.conf" "$stage/scout.conf"
"$ctl" reload
becomes 'reload knows them again' small 'it is up, for IPv4 and IPv6, without a default route'

# ---- rp_filter ----

echo 1 >/proc/sys/net/ipv4/conf/wwan0/rp_filter
within grep -q 'network home has a strict rp_filter' "$stage/scout.log"
like 'a strict rp_filter is said in the log' '*network home has a strict rp_filter*' "$(cat "$stage/scout.log")"
ip addr add 10.1.0.2/24 dev wifi0
ip route add default via 10.1.0.1 dev wifi0 metric 10
ip route add default via 10.7.0.1 dev wwan0 metric 20
within says red 'it is up, for IPv4 and IPv6'
like 'and by why, where another network has the better route' '*rp_filter is strict and another*' "$("$ctl" why small)"
echo 0 >/proc/sys/net/ipv4/conf/wwan0/rp_filter
echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter
strict() {
    "$ctl" why small | grep -q rp_filter
}
loose() {
    ! strict
}
within strict
like 'all counts for each' '*rp_filter is strict and another*' "$("$ctl" why small)"
echo 2 >/proc/sys/net/ipv4/conf/all/rp_filter
ok 'loose is loose enough' within loose

# ---- tunnels and bridges ----

cat >"$stage/tun.py" <<'END'
import fcntl, struct, sys
tun = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
print("made", flush=True)
sys.stdin.read()
END
mkfifo "$stage/hold"
python3 "$stage/tun.py" <"$stage/hold" >"$stage/tun" 2>&1 &
exec 9>"$stage/hold"
within test -s "$stage/tun"
if grep -q made "$stage/tun"; then
    ip addr add 10.66.0.1/24 dev tun0
    ip link set tun0 up
    becomes 'a tunnel that is configured is a network' large 'it is up, for IPv4, without a default route'
else
    skip 'a tunnel that is configured is a network' 'no tunnel can be made here'
fi
if ip link add br0 type bridge 2>/dev/null; then
    world_cable port0 4
    ip link set port0 master br0
    ip link set port0 up
    ip addr flush dev port0
    ip addr add 10.4.0.2/24 dev br0
    ip link set br0 up
    becomes 'a bridge that is configured is a network' background 'it is up, for IPv4, without a default route'
else
    skip 'a bridge that is configured is a network' 'no bridge can be made here'
fi

# ---- checks ----

mkdir "$stage/files"
world_cable far0 3
ip link set far0 up
ip route add 10.9.0.0/24 via 10.3.0.1 dev far0 metric 900
becomes 'a network is not up before its check is' ondemand 'down, its check does not succeed'
world_http "$stage/files"
becomes 'and comes up when it is' ondemand 'it is up, for IPv4 and IPv6, without a default route'

# ---- without a configuration ----

names() {
    "$ctl" --json networks | python3 -c '
import json, sys
for n in sorted(json.load(sys.stdin)["networks"], key=lambda n: n["name"]):
    if n["up"]:
        print(n["name"], *n["labels"])' | xargs
}
intents='red blue ondemand background small large'
kill "$scout_pid"
wait "$scout_pid"
: >"$stage/scout.conf"
start_scout
is 'without a section every ordinary interface is a network, tunnels, bridges and their ports are not' \
    "far0 $intents unmetered wired wifi0 $intents unmetered wifi wwan0 red blue ondemand small cellular" "$(names)"
kill "$scout_pid"
wait "$scout_pid"
i=1
while [ $i -le 60 ]; do
    printf '[network n%d]\naddress = 127.1.0.%d\n' $i $i
    i=$((i + 1))
done >"$stage/scout.conf"
: >"$stage/scout.log"
start_scout
is 'there may be more networks than programs are told of' 60 "$(names | grep -o 'n[0-9][0-9]* red' | wc -l)"
is 'which the log says once' 1 "$(grep -c 'more than 32 networks: programs are told of' "$stage/scout.log")"
like 'and so does status' '*programs are told of the first 32*' "$("$ctl" status)"
tap_end
