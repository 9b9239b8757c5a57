#!/bin/sh
# linked.sh LINKED SHIM - a program that is linked with the library is captured if it is preloaded as well, however that
# is written, and else left alone, whatever is inherited.
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
linked=$1 shim=$2
export CMM_LABELS=red CMM_RULES=127.0.0.0/8=red CMM_PATIENCE=0.1 LD_LIBRARY_PATH="${shim%/*}"

# PRELOAD: what the program says with that in LD_PRELOAD.
says() {
    LD_PRELOAD=$1 "$linked" 2>/dev/null
}
untouched='untouched, labels 0' captured='captured, labels 1'
is 'linked only, its plain sockets are untouched' "$untouched" "$("$linked" 2>/dev/null)"
is 'so they are when something else is preloaded' "$untouched" "$(says libm.so.6)"
is 'and when a library of another place is named that is not there' "$untouched" "$(says "$stage/libcmm_preload.so")"
is 'preloaded by its path, they have the default labels' "$captured" "$(says "$shim")"
is 'so they have by the name alone' "$captured" "$(says libcmm_preload.so)"
is 'and by the name in full' "$captured" "$(says libcmm_preload.so.1)"
is 'and behind another library' "$captured" "$(says "libm.so.6 $shim")"
is 'and by a way round' "$captured" "$(says "${shim%/*}/./${shim##*/}")"
ln -s "$shim" "$stage/alias.so"
is 'and by another name of the file' "$captured" "$(says "$stage/alias.so")"
tap_end
