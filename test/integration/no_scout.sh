#!/bin/sh
# no_scout.sh BUILD DIAL - without a scout: nothing asked, nothing changed; labels asked, one line and a wait. And
# settings that make no sense, under a bare LD_PRELOAD and in privileged programs.
set -u
# shellcheck source=test/integration/world.sh
. "$(dirname "$0")/world.sh"
build=$1 dial=$2
shim=$build/shim/libcmm_preload.so
world_up wifi0

# ---- nothing asked ----

# VARIABLE...: the names of the system calls between the marks, sorted, with these in the environment.
calls() {
    env "$@" strace -f -qq -e signal=none -o "$stage/trace" "$dial" alone
    sed 's/^[0-9]* *//' "$stage/trace" | sed -n '/"mark"/,/"mark"/s/^\([a-z0-9_]*\)(.*/\1/p' | sort >"$stage/calls"
}
# The same before the first mark, less what any library costs.
calls_before() {
    sed 's/^[0-9]* *//; /"mark"/,$d; s/(.*//' "$stage/trace" | grep -vxE 'execve|brk|mmap|mprotect|munmap|openat|read|pread64|newfstatat|fstat|close|access'
}
if command -v strace >/dev/null && strace -o "$stage/trace" true 2>/dev/null; then
    calls _=
    cp "$stage/calls" "$stage/plain"
    calls_before >"$stage/plain.before"
    ok 'there is something to compare' grep -q connect "$stage/plain"
    calls LD_PRELOAD="$shim"
    ok 'without labels and scout every system call is the program'\''s' diff "$stage/plain" "$stage/calls"
    calls_before >"$stage/before"
    if readelf -SW "$shim" | grep -q __llvm_prf; then
        skip 'nor is there one before' 'the library counts what is reached, into a file'
    elif readelf -d "$shim" | grep -q 'NEEDED.*lib[at]san'; then
        skip 'nor is there one before' 'a sanitizer begins with calls of its own'
    else
        ok 'nor is there one before' diff "$stage/plain.before" "$stage/before"
    fi
    calls LD_PRELOAD="$shim" CMM_RULES='10.0.0.0/8=bypass udp::53=none'
    ok 'rules without labels ask for nothing' diff "$stage/plain" "$stage/calls"
    calls LD_PRELOAD="$shim" CMM_LABELS=none CMM_PATIENCE=1
    ok 'nor do the labels "none"' diff "$stage/plain" "$stage/calls"
else
    skip 'without labels and scout every system call is the program'\''s' 'strace does not work here'
fi

# ---- labels asked ----

# What it printed and said, on one line.
heard() {
    "$@" 2>&1 | sed 's/^cmm\[[0-9]*\]: /cmm: /' | xargs -d '\n'
}
line='cmm: labels are asked for, but no scout answers: waiting for one (start it: cmm-scout'
export LD_PRELOAD='' CMM_PATIENCE=0.2
is 'a stream waits, up to its patience, and one line says how to start a scout' "$line --name $CMM_SCOUT &) ETIMEDOUT" \
    "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red "$dial" tcp $server 9)"
is 'so does a datagram' "$line --name $CMM_SCOUT &) ETIMEDOUT" "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red "$dial" udp $server 9)"
is 'and what a rule takes in' "$line --name $CMM_SCOUT &) ETIMEDOUT" \
    "$(heard env LD_PRELOAD="$shim" CMM_RULES=tcp::9=red "$dial" tcp $server 9)"
is 'the one that has no name needs none' "$line &) ETIMEDOUT" "$(heard env CMM_SCOUT='' LD_PRELOAD="$shim" CMM_LABELS=red "$dial" tcp $server 9)"
is 'loopback does not wait' ECONNREFUSED "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red "$dial" tcp 127.0.0.1 9)"
is 'what a rule leaves alone does not wait' ECONNREFUSED \
    "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red CMM_RULES=10.9.0.0/16=bypass "$dial" tcp $server 9)"
is 'nothing is said where a peer would hear it' "ETIMEDOUT 0 bytes at standard error" \
    "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red "$dial" 2 tcp $server 9)"
# Nobody reads its standard error, and it is not killed for that.
mkfifo "$stage/pipe"
# shellcheck disable=SC2094 # a fifo's two ends
(exec 3<>"$stage/pipe" 4>"$stage/pipe" 3<&- && LD_PRELOAD="$shim" CMM_LABELS=red exec "$dial" tcp $server 9 2>&4) >"$stage/got"
is 'a broken standard error kills nobody' '0 ETIMEDOUT' "$? $(cat "$stage/got")"

# ---- what is not reached ----

is 'who uses io_uring is noticed, for those who ask' \
    'cmm: this program uses io_uring: what it does by that is not seen, and goes by no label' \
    "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red CMM_LOG=warn "$dial" ring)"
is 'and it is told to nobody else' '' "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red "$dial" ring)$(heard env LD_PRELOAD="$shim" CMM_LOG=warn "$dial" ring)"

# ---- what makes no sense ----

is 'unknown labels: one line, and labeled streams are invalid' "cmm: unknown label 'nosuch' in CMM_LABELS EINVAL" \
    "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red,nosuch "$dial" tcp $server 9)"
is 'so are datagrams' "cmm: unknown label 'nosuch' in CMM_LABELS EINVAL" \
    "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red,nosuch "$dial" udp $server 9)"
is 'but not what is left alone' "cmm: unknown label 'nosuch' in CMM_LABELS ECONNREFUSED" \
    "$(heard env LD_PRELOAD="$shim" CMM_LABELS=red,nosuch "$dial" tcp 127.0.0.1 9)"

# ---- privileged programs ----

# The loader preloads into them only what the system's own list names. Another user may not see our files.
cp "$dial" "$stage/privileged" && cp "$shim" "$stage/shim.so" && chmod 755 "$stage/shim.so" && chmod 4755 "$stage/privileged" && chmod 777 "$stage"
unset LD_PRELOAD CMM_PATIENCE
# PROGRAM: as a user whom it gives root's rights.
as_user() {
    setpriv --reuid 65534 --clear-groups env CMM_LABELS=nosuch CMM_LOG="debug:$stage/$1.log" "$stage/$1" tcp $server 9
}
cp "$dial" "$stage/ordinary"
what='a setuid program does not hear the environment'
if setpriv --reuid 65534 --clear-groups "$stage/ordinary" udp 127.0.0.1 9 >/dev/null 2>&1 && cp -a /etc "$stage/etc" &&
    mount --bind "$stage/etc" /etc && echo "$stage/shim.so" >/etc/ld.so.preload; then
    is 'an ordinary program hears the environment' EINVAL "$(as_user ordinary)"
    ok 'and logs where it says' test -s "$stage/ordinary.log"
    is "$what" ECONNREFUSED "$(as_user privileged)"
    ok 'nor does it write where that says' test ! -e "$stage/privileged.log"
    umount /etc
else
    skip "$what" 'no other user, or no preload list of its own'
fi
tap_end
