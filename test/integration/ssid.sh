#!/bin/sh
# ssid.sh BUILD - one Wi-Fi interface at another access point is another network: three radios of the kernel's
# mac80211_hwsim, two of them access points. For root, where that module is and nobody uses it; else skipped aloud.
set -u
build=$1

absent() {
    printf '1..0 # SKIP %s\n' "$1"
    exit 0
}

[ "$(id -u)" = 0 ] || absent 'not root'
for need in ip iw hostapd wpa_supplicant wpa_cli modprobe; do
    command -v $need >/dev/null || absent "$need is not installed"
done
radios=/sys/class/mac80211_hwsim
[ ! -d $radios ] || absent 'mac80211_hwsim is in use'
modprobe mac80211_hwsim radios=3 2>/dev/null || absent 'no mac80211_hwsim'

# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/../tools/tap.sh"
export PATH="$PATH:/usr/sbin:/sbin"
client=cmm-client-$$ air=cmm-air-$$ daemons=''
tap_clean() {
    # shellcheck disable=SC2086 # several of them
    kill $daemons
    wait
    ip netns del $client
    ip netns del $air
    rmmod mac80211_hwsim
}
ip netns add $client && ip netns add $air || exit 1

# ---- the air ----

# NUMBER NAMESPACE: that radio goes there; its interface is said.
radio() {
    ls "$radios/hwsim$1/net"
    iw phy "$(ls "$radios/hwsim$1/ieee80211")" set netns name "$2"
}

# NUMBER SSID: on a channel of its own.
access_point() {
    printf '%s\n' "interface=$(radio "$1" $air)" driver=nl80211 "ssid=$2" hw_mode=g "channel=$(($1 * 5))" \
        >"$stage/ap$1.conf"
    ip netns exec $air hostapd "$stage/ap$1.conf" >"$stage/ap$1.log" 2>&1 &
    daemons="$daemons $!"
}
access_point 1 home
access_point 2 'Off"ice x'
wifi=$(radio 0 $client)

# ---- the client ----

in_client() {
    ip netns exec $client "$@"
}

in_client ip link set lo up
in_client ip addr add 10.1.0.2/24 dev "$wifi"
cat >"$stage/wpa.conf" <<'WPA'
network={
    ssid="home"
    key_mgmt=NONE
    disabled=1
}
network={
    ssid=P"Off\"ice x"
    key_mgmt=NONE
    disabled=1
}
WPA
in_client wpa_supplicant -i "$wifi" -D nl80211 -C "$stage/wpa" -c "$stage/wpa.conf" >"$stage/wpa.log" 2>&1 &
daemons="$daemons $!"
cat >"$stage/scout.conf" <<'SCOUT'
[network house]
match = wl*
ssid = home
[network office]
match = wl*
ssid = Off"ice x
[network elsewhere]
match = wl*
[scout]
hold-down = 0
grace = 60
SCOUT
in_client "$build/scout/cmm-scout" -c "$stage/scout.conf" --name "$CMM_SCOUT" 2>"$stage/scout.log" &
daemons="$daemons $!"

up() {
    "$build/tools/cmm-ctl" networks | sed -n 's/^\([a-z]*\) *up .*/\1/p' | xargs
}

# NUMBER NETWORK: the client is told to go to that access point; what is up then, within a while.
join() {
    limit=$(($(date +%s) + 60))
    until in_client wpa_cli -p "$stage/wpa" -i "$wifi" select_network "$1" >/dev/null 2>&1; do
        [ "$(date +%s)" -le $limit ] || break
        sleep 0.1
    done
    until [ "$(up)" = "$2" ]; do
        [ "$(date +%s)" -le $limit ] || break
        sleep 0.1
    done
    up
}

is 'an access point is told by its name' house "$(join 0 house)"
is 'another one on the same interface is another network, also within grace' office "$(join 1 office)"
is 'and back again' house "$(join 0 house)"
tap_end
