#!/bin/sh
# who_serves.sh BUILD DIAL - whom a scout serves, where it listens, and which scout a client believes. Root's, a user's
# and another user's; in a world with a /tmp and a /run of its own.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
user=61234 other=61235
setpriv --reuid $user --clear-groups true 2>/dev/null || world_skip 'not root, or no setpriv: nobody else can be played'
mkdir /run/build /run/dial
if ! mount --bind "$1" /run/build || ! mount --bind "$(dirname "$2")" /run/dial ||
    ! mount -t tmpfs -o mode=1777 world /tmp; then
    world_skip 'no mounts here'
fi
ctl=/run/build/tools/cmm-ctl dial=/run/dial/$(basename "$2")
unset CMM_SCOUT
world_up wifi0
printf '[network %s]\nmatch = wifi0\n' wifi >/run/scout.conf

# UID COMMAND...
as() {
    uid=$1
    shift
    setpriv --reuid "$uid" --regid "$uid" --clear-groups env HOME=/ TMPDIR=/tmp "$@"
}
scouts=''
# UID [VARIABLE=VALUE...] [--name NAME]: its scout; $scout is its pid.
scout_of() {
    uid=$1
    shift
    setpriv --reuid "$uid" --regid "$uid" --clear-groups env HOME=/ "$@" >>/run/scout.log 2>&1 &
    scout=$!
    scouts="$scouts $scout"
}
end() {
    kill -9 "$1"
    wait "$1" 2>/dev/null
}
tap_clean() {
    for pid in $scouts; do
        kill "$pid" 2>/dev/null
    done
}
run='/run/build/scout/cmm-scout -c /run/scout.conf'
serves() {
    as "$@" $ctl status
}

# PID UID [VARIABLE=VALUE...]: who is not served by his own scout yet, is by root's.
served_by() {
    by=$1
    shift
    serves "$@" | grep -q "pid $by)"
}

mode() {
    stat -c '%a %u' "$1"
}
# Exit code and what was said on standard error, of a scout that is to refuse.
refused() {
    outcome timeout 120 setpriv --reuid $user --regid $user --clear-groups env HOME=/ "$@"
}

# ---- root's ----

# shellcheck disable=SC2086 # a command
scout_of 0 $run
roots=$scout
ok "root's serves root" within serves 0
is 'at /run/cmm' '666 0' "$(mode /run/cmm/scout.sock)"
ok 'and everybody' serves $user
is 'who sees the same networks' "$(as 0 $ctl --json networks)" "$(as $user $ctl --json networks)"
is 'but may not change them' '1 cmm-ctl: only the owner of the scout may do that' "$(outcome as $user $ctl down wifi)"
is 'nor what they are like' '1 cmm-ctl: only the owner of the scout may do that' "$(outcome as $user $ctl set wifi metered=yes)"
is 'nor have it read its configuration' '1 cmm-ctl: only the owner of the scout may do that' "$(outcome as $user $ctl reload)"
is 'root may' 0 "$(outcome as 0 $ctl down wifi)"
is 'and take it back' 0 "$(outcome as 0 $ctl auto wifi)"
# shellcheck disable=SC2086
is 'a second one of its name exits 1 and says so' '1 cmm-scout: a scout is already running at /run/cmm/scout.sock' "$(outcome as 0 $run)"
# shellcheck disable=SC2086
scout_of 0 $run --name two
ok 'one of another name stands beside it' within as $user $ctl --scout two status
end "$scout"

# ---- a user's ----

mkdir /run/own && chown $user /run/own && chmod 700 /run/own
# shellcheck disable=SC2086
scout_of $user XDG_RUNTIME_DIR=/run/own $run
ok "a user's listens in XDG_RUNTIME_DIR" within test -S /run/own/cmm/scout.sock
is 'in a directory that is his alone' "700 $user" "$(mode /run/own/cmm)"
like 'he is served by it, before the system'\''s' "*pid $scout)*" "$(within served_by "$scout" $user XDG_RUNTIME_DIR=/run/own; serves $user XDG_RUNTIME_DIR=/run/own)"
is 'and may change what it offers' 0 "$(outcome as $user XDG_RUNTIME_DIR=/run/own $ctl down wifi)"
like 'others are not' "*pid $roots)*" "$(serves $other)"
end "$scout"
like 'when it is gone the system'\''s serves him' "*pid $roots)*" "$(serves $user XDG_RUNTIME_DIR=/run/own)"
# shellcheck disable=SC2086
scout_of $user XDG_RUNTIME_DIR=/run/own $run
ok 'what a killed one has left does not stop the next' within as $user XDG_RUNTIME_DIR=/run/own $ctl auto wifi
end "$scout"
# shellcheck disable=SC2086
scout_of $user $run
ok 'without that directory it listens in /tmp/cmm-UID' within test -S /tmp/cmm-$user/scout.sock
is 'which is his alone' "700 $user" "$(mode /tmp/cmm-$user)"
within as $user $ctl auto wifi
end "$scout"
chmod 777 /tmp/cmm-$user
# shellcheck disable=SC2086
scout_of $user $run
ok 'one that was left open' within as $user $ctl auto wifi
is 'is closed' "700 $user" "$(mode /tmp/cmm-$user)"
end "$scout"
rm -r /tmp/cmm-$user

# ---- somebody else's ----

mkdir /tmp/cmm-$user && chown $other /tmp/cmm-$user && chmod 777 /tmp/cmm-$user
# shellcheck disable=SC2086
is 'a directory that belongs to somebody else is refused' "1 cmm-scout: /tmp/cmm-$user belongs to somebody else" "$(refused $run)"
# shellcheck disable=SC2086
scout_of $other $run --name /tmp/cmm-$user/scout.sock
foreign=$scout
within as $other $ctl --scout /tmp/cmm-$user/scout.sock status
chmod 666 /tmp/cmm-$user/scout.sock
like 'a scout in it is not believed: the system'\''s serves' "*pid $roots)*" "$(serves $user)"
like 'nor when it is asked for' "3 cmm-ctl: no scout answers (/tmp/cmm-$user/scout.sock: neither root's nor yours, so not believed)*" \
    "$(outcome as $user $ctl --scout /tmp/cmm-$user/scout.sock status)"
dials() {
    as "$1" LD_PRELOAD=/run/build/shim/libcmm_preload.so CMM_SCOUT="$2" CMM_LABELS=red CMM_PATIENCE="$3" "$dial" tcp $server 9 2>/dev/null
}
is 'a program goes by what root'\''s says' ECONNREFUSED "$(dials $user scout 120)"
is 'and does not heed a stranger'\''s' ETIMEDOUT "$(dials $user /tmp/cmm-$user/scout.sock 0.5)"
is 'to whom it is his own it speaks' ECONNREFUSED "$(dials $other /tmp/cmm-$user/scout.sock 120)"
end "$foreign"
rm -r /tmp/cmm-$user
mkdir /tmp/elsewhere && chown $user /tmp/elsewhere && ln -s /tmp/elsewhere /tmp/cmm-$user && chown -h $user /tmp/cmm-$user
# shellcheck disable=SC2086
is 'a symbolic link is refused' "1 cmm-scout: /tmp/cmm-$user is not a directory" "$(refused $run)"
rm /tmp/cmm-$user
: >/tmp/cmm-$user
# shellcheck disable=SC2086
is 'and so is a file' "1 cmm-scout: /tmp/cmm-$user is not a directory" "$(refused $run)"
end "$roots"
like 'with no scout there is none' '3 cmm-ctl: no scout answers (*' "$(outcome as $other $ctl status)"
tap_end
