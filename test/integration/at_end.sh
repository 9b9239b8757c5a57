#!/bin/sh
# at_end.sh BUILD PROGRAM - what a linked program leaves behind when it ends: no memory that is lost, no thread.
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/../tools/tap.sh"
build=$1 program=$2
command -v valgrind >/dev/null || {
    echo '1..0 # SKIP valgrind is not installed'
    exit 0
}
scout=''
tap_clean() {
    [ -z "$scout" ] || kill $scout
}

# Memory that is still known at the end is nobody's loss; a thread that is still there shows as memory that may be.
lost() {
    valgrind --quiet --leak-check=full --error-exitcode=9 "$program" "$1"
}

for how in 'at once' open closed; do
    ok "without a scout a program that ends ($how) leaves nothing behind" lost "$how"
done

printf '%s\n' '[network lab]' 'address = 127.0.1.1' 'labels = small, background' '[scout]' 'hold-down = 0' >"$stage/conf"
"$build/scout/cmm-scout" -c "$stage/conf" --name "$CMM_SCOUT" 2>"$stage/log" &
scout=$!
within "$build/tools/cmm-ctl" wait -t 1 background
for how in 'at once' open closed; do
    ok "a program that ends ($how) leaves nothing behind" lost "$how"
done
is 'no subscriber is left' 0 "$("$build/tools/cmm-ctl" --json subscribers | grep -c '"pid"')"
tap_end
