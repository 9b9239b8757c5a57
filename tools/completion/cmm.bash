# shellcheck shell=bash
# cmm.bash - bash completion for cmm-ctl, cmm-run and cmm-scout.

# The scout's labels, or the built-in ones where none answers.
_cmm_labels() {
    cmm-ctl labels 2>/dev/null | awk 'NR > 1 { print $1 }' | grep . ||
        printf '%s\n' red blue ondemand background small large unmetered wired wifi cellular
}

_cmm_networks() {
    cmm-ctl networks 2>/dev/null | awk 'NR > 1 && $1 != "!" { print $1 }'
}

# The last name of a comma-separated list.
_cmm_list() {
    local before=
    [[ $1 == *,* ]] && before=${1%,*},
    mapfile -t COMPREPLY < <(compgen -P "$before" -W "$(_cmm_labels)" -- "${1##*,}")
    compopt -o nospace
}

_cmm_words() {
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_cmm_ctl() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    case $previous in
    --scout) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    wait) _cmm_list "$word" ;;
    up | down | auto | set) _cmm_words "$(_cmm_networks)" "$word" ;;
    why | release) _cmm_words "$(cmm-ctl subscribers 2>/dev/null | awk 'NR > 1 { print $1 }')" "$word" ;;
    -t | --timeout) ;;
    *)
        if [[ " ${COMP_WORDS[*]} " == *' wait '* && $word != -* ]]; then
            _cmm_list "$word"
        else
            _cmm_words 'status labels networks subscribers wait watch up down auto set why release reload
                --scout --json --timeout --help --version' "$word"
        fi
        ;;
    esac
}

# Where the program stands that cmm-run runs, if the cursor is behind or on it.
_cmm_run_program() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -l | --labels | -r | --rule | --on-loss | --patience | --scout) ((++i)) ;;
        --) echo $((i + 1)) && return ;;
        -*) ;;
        *) echo "$i" && return ;;
        esac
    done
    return 1
}

_cmm_run() {
    local word=${COMP_WORDS[COMP_CWORD]} at
    if at=$(_cmm_run_program); then
        declare -F _command_offset >/dev/null && _command_offset "$at"
        return
    fi
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    -l | --labels) _cmm_list "$word" ;;
    --on-loss) _cmm_words 'fail reconnect mptcp' "$word" ;;
    --patience) _cmm_words '90 5m 2h forever' "$word" ;;
    --scout) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    -r | --rule) ;;
    *)
        if [[ $word == -* ]]; then
            _cmm_words '--labels --rule --on-loss --patience --scout --verbose --strict --shell --print-env --help --version' "$word"
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$word")
        fi
        ;;
    esac
}

_cmm_scout() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case ${COMP_WORDS[COMP_CWORD - 1]} in
    -c | --config | --script) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    --name) ;;
    *) _cmm_words '--config --script --name --check --verbose --help --version' "$word" ;;
    esac
}

complete -F _cmm_ctl cmm-ctl
complete -F _cmm_run cmm-run
complete -F _cmm_scout cmm-scout
