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

# What a shell offers behind these words of a command line, the last of them begun, one a line.
in_bash() { # which takes a = for a word of its own
    bash --norc -c '. "$1/cmm.bash"; shift; last=${!#}
        [[ $last != --*=* ]] || set -- "${@:1:$#-1}" "${last%%=*}" = ${last#*=}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        complete -p "$1" >/dev/null && "_${1//-/_}" 2>/dev/null; printf "%s\n" "${COMPREPLY[@]}"' - "$scripts" "$@"
}
in_fish() {
    HOME=$stage fish --no-config -c 'source $argv[1]/$argv[2].fish; complete -C "$argv[2..]"' "$scripts" "$@" | cut -f 1
}
in_zsh() {
    zsh -f "$(dirname "$0")/complete.zsh" "$scripts" "$stage/compdump" "$*" | tr -d ' '
}

# SHELL TOOL: the words of its help that the shell does not offer.
forgotten() {
    { "in_$1" "${2##*/}" --; [ -z "$(commands "$2")" ] || "in_$1" "${2##*/}" ''; } >"$stage/offered"
    { options "$2"; commands "$2"; } | grep -vxFf "$stage/offered" | xargs
}

# A scout's tables, with what is to be passed over.
mkdir "$stage/bin"
cat >"$stage/bin/cmm-ctl" <<'END'
#!/bin/sh
case $1 in
networks) cat <<'TABLE' ;;
NETWORK          STATE      IF    METRIC  METERED  LABELS
lab              up!        -     0       no       all,unmetered,
                                                   backup
a-name-of-thirty-one-characters
                 withdrawn  -     0       no       all
(programs are told of the first 32)
! set by cmm-ctl, until cmm-ctl auto
TABLE
subscribers) echo 'No subscribers.' ;;
labels) exit 3 ;;
esac
END
chmod +x "$stage/bin/cmm-ctl"
PATH=$stage/bin:$PATH

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
    is "$shell offers the networks, and nothing else that is in their table" 'a-name-of-thirty-one-characters lab' \
        "$(in_$shell cmm-ctl up '' | sort | xargs)"
    is "$shell offers no process where there is none" '' "$(in_$shell cmm-ctl release '' | xargs)"
    is "$shell offers the built-in labels without a scout" 'background blue' "$(in_$shell cmm-ctl wait b | sort | xargs)"
    like "$shell offers what may stand behind a =" '*5m*' "$(in_$shell cmm-run --patience= | xargs)"
done
if command -v bash >/dev/null; then
    is 'a list of labels is completed at its end' red,background \
        "$(bash --norc -c '. "$1/cmm.bash"; COMP_WORDS=(cmm-run -l red,backg) COMP_CWORD=2; _cmm_run 2>/dev/null; echo "$COMPREPLY"' - "$scripts")"
    is 'a policy is completed' reconnect \
        "$(bash --norc -c '. "$1/cmm.bash"; COMP_WORDS=(cmm-run --on-loss re) COMP_CWORD=2; _cmm_run; echo "$COMPREPLY"' - "$scripts")"
fi
tap_end
