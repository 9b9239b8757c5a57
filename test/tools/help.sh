#!/bin/sh
# help.sh TOOL... - what --help says fits a screen of 24 lines and 80 columns, and each tool knows its version.
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
for tool in "$@"; do
    name=${tool##*/}
    is "$name --help succeeds and says nothing on standard error" 0 "$(outcome "$tool" --help)"
    "$tool" --help >"$stage/help"
    like "it begins with how $name is used" "Usage: *$name*" "$(head -n 1 "$stage/help")"
    ok 'it fits 24 lines' test "$(wc -l <"$stage/help")" -le 24
    ok 'it fits 80 columns' test "$(wc -L <"$stage/help")" -le 80
    case $name in
    cmm-*) like "$name --version is its name and a number" "$name [0-9]*.[0-9]*" "$("$tool" --version)" ;;
    esac
done
tap_end
