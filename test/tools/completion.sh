#!/bin/sh
# completion.sh DIRECTORY TOOL... - each option and command of --help is completed, in bash, zsh and fish.
# shellcheck disable=SC2016 # what other shells expand
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
scripts=$1
shift

# Of a tool's help: long options, and cmm-ctl's commands.
options() {
    "$1" --help | grep -oE '(^|[^[:alnum:]-])--[a-z][a-z-]*' | grep -oE -- '--.*' | sort -u
}
commands() {
    case $1 in
    *cmm-ctl) "$1" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' ;;
    esac
}

# What a shell offers behind `TOOL WORD`, one a line.
in_bash() {
    bash --norc -c '. "$1/cmm.bash"; COMP_WORDS=("$2" "$3") COMP_CWORD=1
        complete -p "$2" >/dev/null && "_${2//-/_}" "$2" "$3" "$2" 2>/dev/null; printf "%s\n" "${COMPREPLY[@]}"' \
        - "$scripts" "$1" "$2"
}
in_fish() {
    HOME=$stage fish --no-config -c 'source $argv[1]/$argv[2].fish; complete -C "$argv[2] $argv[3]"' "$scripts" "$1" "$2" |
        cut -f 1
}
# zsh completes for a terminal only: what its script names must do.
in_zsh() {
    grep -oE -- '--[a-z][a-z-]*|[a-z]+\\:' "$scripts/_cmm" | tr -d '\\:'
}

# SHELL TOOL: the words of its help that the shell does not offer.
forgotten() {
    { "in_$1" "${2##*/}" --; [ -z "$(commands "$2")" ] || "in_$1" "${2##*/}" ''; } >"$stage/offered"
    { options "$2"; commands "$2"; } | grep -vxFf "$stage/offered" | xargs
}

for shell in bash zsh fish; do
    case $shell in
    fish) file=$scripts/cmm-ctl.fish ;;
    zsh) file=$scripts/_cmm ;;
    bash) file=$scripts/cmm.bash ;;
    esac
    if ! command -v $shell >/dev/null; then
        skip "$shell reads its completion and offers all there is" "$shell is not installed"
        continue
    fi
    ok "$shell reads its completion" $shell -n "$file"
    for tool in "$@"; do
        is "$shell offers every option and command of ${tool##*/}" '' "$(forgotten $shell "$tool")"
    done
done
if command -v bash >/dev/null; then
    is 'a list of labels is completed at its end' red,background \
        "$(bash --norc -c '. "$1/cmm.bash"; COMP_WORDS=(cmm-run -l red,backg) COMP_CWORD=2; _cmm_run 2>/dev/null; echo "$COMPREPLY"' - "$scripts")"
    is 'a policy is completed' reconnect \
        "$(bash --norc -c '. "$1/cmm.bash"; COMP_WORDS=(cmm-run --on-loss re) COMP_CWORD=2; _cmm_run; echo "$COMPREPLY"' - "$scripts")"
fi
tap_end
