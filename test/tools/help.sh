#!/bin/sh
# help.sh TOOL... - what --help says fits a screen of 24 lines and 80 columns, and each tool knows its version.
# shellcheck disable=SC2016 # what sh -c expands
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
    test)
        like "$name says that it cannot build below a blank, and what to do" '1 test: the loader *BUILD=DIRECTORY*' \
            "$(BUILD="$stage/a b" outcome "$tool")"
        like 'nor where it may not write' '1 test: * cannot be written;*' "$(BUILD=/nowhere/to/build outcome "$tool")"
        ;;
    cmm-*)
        like "$name --version is its name and a number" "$name [0-9]*.[0-9]*" "$("$tool" --version)"
        is "$name -h is the same as --help" "$(cat "$stage/help")" "$("$tool" -h 2>&1)"
        for option in --help --version; do
            like "a full disk is no answer to $name $option, and said in one line" "1* $name: cannot write*" \
                "$(outcome sh -c '"$1" "$2" >/dev/full' - "$tool" "$option" | sed '2s/.*/more/')"
        done
        ;;
    esac
done
tap_end
