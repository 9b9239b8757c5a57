# shellcheck shell=sh
# tap - what the tests of the tools share. Each says `is TEXT EXPECTED GOT` or `ok TEXT COMMAND...`, then `tap_end`.

tap_count=0 tap_failed=0
stage=$(mktemp -d) || exit 1
tap_clean() { :; }
trap 'tap_clean; rm -rf "$stage"' EXIT
unset CMM_LABELS CMM_RULES CMM_ON_LOSS CMM_PATIENCE CMM_LOG CMM_STRICT CMM_NAMES LD_PRELOAD
export CMM_SCOUT="$stage/scout.sock" LC_ALL=C

tap_result() {
    tap_count=$((tap_count + 1))
    [ "$1" = ok ] || tap_failed=1
    printf '%s %d - %s\n' "$1" $tap_count "$2"
}

is() {
    if [ "$2" = "$3" ]; then
        tap_result ok "$1"
    else
        tap_result 'not ok' "$1"
        printf '%s\n' "expected: $2" "got:      $3" | sed 's/^/# /'
    fi
}

# A shell pattern.
like() {
    # shellcheck disable=SC2254 # a pattern
    case $3 in
    $2) tap_result ok "$1" ;;
    *) is "$1" "$2" "$3" ;;
    esac
}

ok() {
    text=$1
    shift
    if "$@" >"$stage/said" 2>&1; then
        tap_result ok "$text"
    else
        tap_result 'not ok' "$text"
        sed 's/^/# /' "$stage/said"
    fi
}

skip() {
    tap_result ok "$1 # SKIP $2"
}

# Exit code and standard error of a command, standard output thrown away: "125 cmm-run: ...".
outcome() {
    code=0
    said=$("$@" 2>&1 >/dev/null) || code=$?
    printf '%s' "$code${said:+ }$said"
}

# COMMAND...: until it succeeds; 1 and a line when it does not. How long is no part of any promise: a busy machine may
# take its time.
within() {
    limit=$(($(date +%s) + 120))
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -le $limit ] || {
            echo "# in vain: $*" >&2
            return 1
        }
        sleep 0.01
    done
}

tap_end() {
    printf '1..%d\n' $tap_count
}
