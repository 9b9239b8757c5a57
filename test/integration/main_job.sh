#!/bin/sh
# main_job.sh BUILD - unmodified programs go by their labels, or wait for a network that matches.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1
run=$build/tools/cmm-run

mkdir "$stage/files"
echo 'a small file' >"$stage/files/small"
head -c 5000000 /dev/urandom >"$stage/files/large"
world_http "$stage/files" || world_skip 'no web server'
world_up wwan0
world_scout "$build" || {
    cat "$stage/scout.log"
    exit 1
}
cell_is_there() {
    "$build/tools/cmm-ctl" wait -t 0 ondemand
}
within cell_is_there

# NAME: is the request for it waiting, in the eyes of the scout?
waits() {
    "$build/tools/cmm-ctl" why "$1" | grep -q background
}

# ---- what matches goes at once ----

"$run" -l ondemand curl -sS -o "$stage/got" "http://$server/small?now"
is 'what matches the network that is there goes at once' 0 $?
is 'it goes by that network' wwan0 "$(world_served '/small?now')"
ok 'its bytes are the file'\''s' cmp "$stage/files/small" "$stage/got"

# ---- what does not match waits ----

before=$(world_connections)
"$run" -l background curl -sS -o "$stage/curl.small" "http://$server/small" 2>"$stage/curl.small.said" &
curl_small=$!
"$run" -l background curl -sS -o "$stage/curl.large" "http://$server/large" 2>"$stage/curl.large.said" &
curl_large=$!
wget_large=''
command -v wget >/dev/null && {
    "$run" -l background wget -q -O "$stage/wget.large" "http://$server/large?wget" 2>"$stage/wget.large.said" &
    wget_large=$!
}
for pid in $curl_small $curl_large $wget_large; do
    ok 'whoever waits is known to the scout' within waits "$pid"
done

# PROGRAM PID: a second of the program's, in which its network does not come.
sits_still() {
    cpu=$(cpu_of "$2")
    "$build/tools/cmm-ctl" wait -t 1 background >/dev/null 2>&1
    is 'no matching network comes by itself' 1 $?
    ok "a $1 that waits uses no processor" test $(($(cpu_of "$2") - cpu)) -lt 50000000
    ok "$1 waits on" alive "$2"
}
sits_still curl $curl_small
[ -z "$wget_large" ] || sits_still wget "$wget_large"
is 'nothing of it has reached the server' "$before" "$(world_connections)"
is 'no request is in the server'\''s log' '' "$(world_asked /small)$(world_asked /large)$(world_asked '/large?wget')"

# ---- the moment its network comes it goes ----

world_up wifi0
wait $curl_small
is 'a non-blocking connect is made when its network comes' 0 $?
wait $curl_large
is 'and so is one for a large file' 0 $?
is 'curl went by the network that matches' 'wifi0 wifi0' "$(world_served /small) $(world_served /large)"
ok 'the small file is whole' cmp "$stage/files/small" "$stage/curl.small"
ok 'the large file is whole' cmp "$stage/files/large" "$stage/curl.large"
if [ -n "$wget_large" ]; then
    wait "$wget_large"
    is 'a blocking connect is made when its network comes' 0 $?
    is 'wget went by the network that matches' wifi0 "$(world_served '/large?wget')"
    ok 'wget'\''s file is whole' cmp "$stage/files/large" "$stage/wget.large"
else
    skip 'a blocking connect is made when its network comes' 'wget is not installed'
fi
is 'nobody was told anything' '' "$(cat "$stage"/*.said)"

# ---- a matching network among two, and patience ----

"$run" -l background curl -sS -o "$stage/got" "http://$server/small?both"
is 'with both there it goes by the one that matches' wifi0 "$(world_served '/small?both')"

world_down wifi0
within sh -c "! $build/tools/cmm-ctl wait -t 0 background"
"$run" -l background --patience 1 curl -sS -o "$stage/got" "http://$server/small?never" 2>"$stage/patience.said"
impatient=$?
(echo 1 >/proc/sys/net/ipv4/tcp_syn_retries) 2>/dev/null
ip -n server route add blackhole 10.9.0.9
curl -sS -o "$stage/got" http://10.9.0.9/ 2>"$stage/native.said"
is 'patience over ends as a connect that is never answered ends' $? $impatient
like 'its user is told so' '*onnect*' "$(cat "$stage/patience.said")"
is 'and nothing was sent elsewhere' '' "$(world_asked '/small?never')"
tap_end
