# shellcheck shell=bash
# cmm.bash - bash completion for cmm-ctl, cmm-run and cmm-scout.

# The first column of a table, without what goes on below itself and without remarks.
_cmm_column() {
    cmm-ctl "$1" 2>/dev/null | sed -n '2,$s/^\([^ !(][^ ]*\).*/\1/p'
}

# The scout's labels, or the built-in ones where none answers.
_cmm_labels() {
    _cmm_column labels | grep . ||
        printf '%s\n' red blue ondemand background small large unmetered wired wifi cellular
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

_cmm_files() {
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

# Sets word and previous; bash takes a '=' for a word of its own.
_cmm_here() {
    word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    if [[ $word == = ]]; then
        word=
    elif [[ $previous == = && $COMP_CWORD -gt 2 ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
}

# Prints the places of words that are neither options nor their values, before the cursor. The rest of the
# arguments are the options that take a value.
_cmm_plain() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            seq $((i + 1)) "$COMP_CWORD" && return
        elif [[ " $* " == *" ${COMP_WORDS[i]} "* ]]; then
            [[ ${COMP_WORDS[++i]} != = ]] || ((++i))
        elif [[ ${COMP_WORDS[i]} != -* ]]; then
            echo "$i"
        fi
    done
}

_cmm_ctl() {
    local word previous plain command=
    _cmm_here
    mapfile -t plain < <(_cmm_plain --scout -t --timeout)
    [[ ${#plain[@]} -eq 0 ]] || command=${COMP_WORDS[plain[0]]}
    case $previous,$command in
    --scout,*) _cmm_files "$word" && return ;;
    -t,* | --timeout,*) return ;;
    labels,set) _cmm_list "$word" && return ;;
    metered,set) _cmm_words 'yes no auto' "$word" && return ;;
    esac
    case $word,$command,${#plain[@]} in
    -*) _cmm_words '--scout --json --timeout --help --version' "$word" ;;
    *,,*) _cmm_words 'status labels networks subscribers wait watch up down auto set why release reload' "$word" ;;
    *,wait,1) _cmm_list "$word" ;;
    *,up,1 | *,down,1 | *,auto,1 | *,set,1) _cmm_words "$(_cmm_column networks)" "$word" ;;
    *,set,*) _cmm_words 'metered= labels=' "$word" && compopt -o nospace ;;
    *,why,1) _cmm_words "$(_cmm_column subscribers; _cmm_labels)" "$word" ;;
    *,release,1) _cmm_words "$(_cmm_column subscribers)" "$word" ;;
    esac
}

_cmm_run() {
    local word previous plain
    mapfile -t plain < <(_cmm_plain -l --labels -r --rule --on-loss --patience --scout)
    if [[ ${#plain[@]} -gt 0 && ${plain[0]} -lt $COMP_CWORD ]]; then
        if declare -F _command_offset >/dev/null; then
            _command_offset "${plain[0]}"
        else
            compopt -o default
        fi
        return
    fi
    _cmm_here
    case $previous in
    -l | --labels) _cmm_list "$word" ;;
    --on-loss) _cmm_words 'fail reconnect mptcp' "$word" ;;
    --patience) _cmm_words '90 5m 2h forever' "$word" ;;
    --scout) _cmm_files "$word" ;;
    -r | --rule) ;;
    *)
        if [[ $word == -* && ${#plain[@]} -eq 0 ]]; then
            _cmm_words '--labels --rule --on-loss --patience --scout --verbose --strict --shell --print-env --help --version' "$word"
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$word")
        fi
        ;;
    esac
}

_cmm_scout() {
    local word previous
    _cmm_here
    case $previous in
    -c | --config | --script) _cmm_files "$word" ;;
    --name) ;;
    *) _cmm_words '--config --script --name --check --verbose --help --version' "$word" ;;
    esac
}

complete -F _cmm_ctl cmm-ctl
complete -F _cmm_run cmm-run
complete -F _cmm_scout cmm-scout
