#!/bin/sh
# endpoints.sh BUILD - the endpoints of the kernel's Multipath TCP come and go with the networks, if the scout may make
# them, and `cmm-ctl status` says who does.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1

ip mptcp endpoint show >/dev/null 2>&1 || world_skip 'no Multipath TCP in this kernel, or an ip without it'

# The addresses of all endpoints, a word each.
endpoints() {
    ip mptcp endpoint show | sed 's/ .*//' | sort | xargs
}

words() {
    printf '%s' "$*"
}

# ADDRESS...: these are the endpoints.
are() {
    [ "$(endpoints)" = "$*" ]
}

# ADDRESS...: waits for it, and says what there was; for a moment one may be missing that is made anew.
become() {
    if within are "$@"; then
        words "$@"
    else
        endpoints
    fi
}

# ADDRESS
is_backup() {
    ip mptcp endpoint show | grep -q "^$1 .*backup"
}

# It is another thread that makes them: what it has done is seen a moment later.
says() {
    "$build/tools/cmm-ctl" status | sed -n 's/^Multipath TCP: //p'
}

is_said() {
    [ "$(says)" = "$1" ]
}

# TEXT EXPECTED
comes_to_say() {
    within is_said "$2"
    is "$1" "$2" "$(says)"
}

end_scout() {
    kill "$scout"
    wait "$scout"
}

wifi=10.1.0.2 wifi6=fd00:1::2 cell=10.2.0.2 cell6=fd00:2::2
[ -n "$(ip -6 addr show dev wifi0)" ] || wifi6='' cell6=''
spare=10.1.0.99

# ---- with the privilege ----

ip mptcp endpoint add $spare dev lo subflow
world_up wifi0
world_up wwan0
world_scout "$build"
# shellcheck disable=SC2086 # none where there is no IPv6
is 'what is offered is an endpoint' "$(words $wifi $spare $cell $wifi6 $cell6)" \
    "$(become $wifi $spare $cell $wifi6 $cell6)"
comes_to_say 'status says that the scout makes them' \
    "endpoints by the scout: $(endpoints | wc -w | tr -d ' ')"
ok 'whoever has a metered network says so: it is for want of others' \
    "$build/tools/cmm-ctl" set cell metered=yes
ok 'such an endpoint is a backup' within is_backup "$cell"
world_down wifi0
# shellcheck disable=SC2086
is 'with its network down it goes' "$(words $spare $cell $cell6)" "$(become $spare $cell $cell6)"
world_down wwan0
within sh -c "! $build/tools/cmm-ctl wait -t 0 ondemand"
# shellcheck disable=SC2086
is 'the last one stays: its connections may yet go on' "$(words $spare $cell $cell6)" "$(endpoints)"
world_up wifi0
# shellcheck disable=SC2086
is 'until another network comes' "$(words $wifi $spare $wifi6)" "$(become $wifi $spare $wifi6)"
"$build/tools/cmm-ctl" down wifi
is 'of a network that is withdrawn it goes in any case' $spare "$(become $spare)"
"$build/tools/cmm-ctl" up wifi
# shellcheck disable=SC2086
become $wifi $spare $wifi6 >/dev/null
# One of them is not as it was, by the time.
kill -9 "$scout"
wait "$scout" 2>/dev/null
ip mptcp endpoint show | sed -n 's/^10.1.0.2 id \([0-9]*\) .*/\1/p' | {
    read -r id
    ip mptcp endpoint delete id "$id"
    ip mptcp endpoint add $wifi id "$id" dev wifi0 subflow fullmesh
}
world_up wwan0
world_down wifi0
world_scout "$build"
# shellcheck disable=SC2086
is 'what a killed scout has left the next one takes back, but for what is another'"'"'s' \
    "$(words $wifi $spare $cell $cell6)" "$(become $wifi $spare $cell $cell6)"
ip mptcp endpoint show | sed -n 's/^10.1.0.2 id \([0-9]*\) .*/\1/p' | {
    read -r id
    ip mptcp endpoint delete id "$id"
}
echo 'mptcp = no' >>"$stage/scout.conf"
"$build/tools/cmm-ctl" reload
is 'with mptcp = no the scout makes none' $spare "$(become $spare)"
comes_to_say 'and says so' 'endpoints by the kernel: 1; the scout makes none'
sed -i '/^mptcp/d' "$stage/scout.conf"
"$build/tools/cmm-ctl" reload
# shellcheck disable=SC2086
become $spare $cell $cell6 >/dev/null
end_scout
is 'at its end its own are gone, and those of others are there' $spare "$(endpoints)"

# The kernel takes longer over an endpoint that is taken back than such networks last.
printf '%s\n' '0 up wifi' '0.002 down wifi' '0.004 up cell' '0.006 down cell' '0.008 loop' >"$stage/storm"
"$build/scout/cmm-scout" -c "$stage/scout.conf" --script "$stage/storm" --name "$CMM_SCOUT" 2>"$stage/scout.log" &
scout=$!
ok 'a scout whose networks come and go at 500 Hz is there for who asks' within "$build/tools/cmm-ctl" status
end_scout
is 'and takes back what it has made' $spare "$(endpoints)"

# ---- without ----

if setpriv --bounding-set -net_admin --inh-caps -net_admin true 2>/dev/null; then
    without() {
        setpriv --bounding-set -net_admin --inh-caps -net_admin "$build/scout/cmm-scout" -c "$stage/scout.conf" \
            --name "$CMM_SCOUT" 2>"$stage/scout.log" &
        scout=$!
        within "$build/tools/cmm-ctl" status
    }
    without
    within "$build/tools/cmm-ctl" wait -t 0 ondemand
    comes_to_say 'without the privilege what the kernel has is used, says status' \
        'endpoints by the kernel: 1; the scout makes none'
    is 'and nothing else is made' $spare "$(endpoints)"
    end_scout
else
    skip 'without the privilege what the kernel has is used, says status' 'no setpriv here'
fi
if echo 0 >/proc/sys/net/mptcp/enabled; then
    world_scout "$build"
    comes_to_say 'where the kernel has it switched off status says that' 'switched off in this kernel (net.mptcp.enabled)'
    end_scout
else
    skip 'where the kernel has it switched off status says that' 'it cannot be switched off'
fi
tap_end
