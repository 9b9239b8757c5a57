#!/bin/sh
# stacking.sh BUILD - preloaded beside another library, in either order, the shim works; or what stands in the way is
# told in a line.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1
us=$build/shim/libcmm_preload.so.1
socks=$(dirname "$0")/socks.py

mkdir "$stage/files"
echo 'a small file' >"$stage/files/small"
world_http "$stage/files" || world_skip 'no web server'
world_up wifi0
world_up wwan0
# Against the routes, which prefer wifi0.
# shellcheck disable=SC2034 # for world_scout
wifi_labels='background' cell_labels='ondemand, small'
world_scout "$build" || {
    cat "$stage/scout.log"
    exit 1
}
within "$build/tools/cmm-ctl" wait -t 0 ondemand
within curl -sS -o "$stage/got" "http://$server/small"

# NAME...: the first of these libraries that is installed.
library() {
    for name; do
        for path in /usr/lib/*/"$name" /usr/lib/"$name" /usr/lib64/"$name"; do
            [ -e "$path" ] && printf '%s' "$path" && return
        done
    done
    return 1
}

# They fetch what $0 names.
# shellcheck disable=SC2016 # expanded later
by_curl='exec curl -sS --max-time 240 "$0"'
# shellcheck disable=SC2016
by_python='exec python3 -c "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode(), end=str())" "$0"'
client=$by_curl

# TAG PRELOADED [NAME=VALUE...]: how one request goes, and by which network.
request() {
    tag=$1 stack=$2
    shift 2
    timeout 300 env "$@" CMM_LABELS=small LD_PRELOAD="$stack" sh -c "$client" "http://$server/small?$tag" \
        >"$stage/got" 2>"$stage/said"
    code=$?
    [ $code = 0 ] && cmp -s "$stage/files/small" "$stage/got" && code=whole
    printf '%s %s' $code "$(world_served "/small?$tag")"
}

# TITLE LIBRARY EXPECTED SAID [NAME=VALUE...]: in either order; SAID, a pattern: why not, where ours comes first.
both() {
    title=$1 other=$2 expected=$3 told=$4
    shift 4
    if [ -z "$other" ]; then
        skip "$title before the library" 'not installed'
        skip "$title behind the library" 'not installed'
        return
    fi
    is "$title before the library" "$expected" "$(request "$title-before" "$other $us" "$@")"
    is '... and nothing is said' '' "$(cat "$stage/said")"
    is "$title behind the library" "$expected" "$(request "$title-behind" "$us $other" "$@")"
    like "... and what stands in the way is said, if anything does" "$told" "$(cat "$stage/said")"
}

is 'alone it goes by its label' 'whole wwan0' "$(request alone "$us")"

both eatmydata "$(library libeatmydata.so)" 'whole wwan0' ''
both faketime "$(library faketime/libfaketime.so.1)" 'whole wwan0' '' FAKETIME=+1d
both jemalloc "$(library libjemalloc.so.2)" 'whole wwan0' ''
# Its socket() goes to the kernel by syscall().
both mptcpize "$(library mptcpize/libmptcpwrap.so.0)" 'whole wwan0' ''

python3 "$socks" 1080 &
within python3 -c 'import socket; socket.create_connection(("127.0.0.1", 1080))'
printf '%s\n' 'TorAddress 127.0.0.1' 'TorPort 1080' >"$stage/torsocks.conf"
printf '%s\n' strict_chain '[ProxyList]' 'socks5 127.0.0.1 1080' >"$stage/proxychains.conf"
# Not "LD_PRELOAD=ITS:$LD_PRELOAD", but its own alone.
if command -v mptcpize >/dev/null; then
    # shellcheck disable=SC2016 # expanded later
    client='exec mptcpize run curl -sS --max-time 240 "$0"'
    is 'a wrapper that preloads something of its own leaves it in' 'whole wwan0' "$(request wrapped "$us")"
    client=$by_curl
else
    skip 'a wrapper that preloads something of its own leaves it in' 'mptcpize is not installed'
fi

# Its proxy is out of reach of a socket bound to a network.
both torsocks "$(library torsocks/libtorsocks.so)" 'whole wifi0' '*left to *libtorsocks*; preload it first' \
    "TORSOCKS_CONF_FILE=$stage/torsocks.conf"
both proxychains "$(library libproxychains.so.4)" 'whole wifi0' '*left to *libproxychains*; preload it first' \
    "PROXYCHAINS_CONF_FILE=$stage/proxychains.conf" PROXYCHAINS_QUIET_MODE=1
is 'a program that makes no connection is told nothing' '' \
    "$(CMM_LABELS=small LD_PRELOAD="$us $(library torsocks/libtorsocks.so libproxychains.so.4)" true 2>&1)"
# curl hangs in setlocale() under a preloaded sanitizer alone.
client=$by_python
both asan "$(library libasan.so.8 libasan.so.6)" 'whole wwan0' '' ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0
# Its connect() asks for the next one.
both tsan "$(library libtsan.so.2 libtsan.so.0)" 'whole wwan0' ''
tap_end
