#!/bin/sh
# cmm-run.sh RUN SHIM DYNAMIC STATIC GO BUILD - what cmm-run promises, without a scout.
# shellcheck disable=SC2016 # what sh -c expands
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
run=$1 shim=$2 dynamic=$3 static=$4 go=$5 build=$6

# One variable of the environment that a program gets under these options.
gets() {
    name=$1
    shift
    "$run" "$@" env 2>/dev/null | sed -n "s/^$name=//p"
}

is 'the exit code is the program'\''s' 7 "$(outcome "$run" "$dynamic" 7)"
like 'a program killed by a signal is seen as killed' '137*' "$(outcome sh -c '"$1" sh -c "kill -9 \$\$"; exit $?' - "$run")"
is 'the process is the program: no one in between' "$(printf '%s\n' same)" \
    "$(sh -c 'echo $$; exec "$1" sh -c "echo \$\$"' - "$run" | uniq | wc -l | sed 's/^ *1$/same/')"
is 'options after the program are the program'\''s' "-l --help" "$("$run" echo -l --help)"
is '-- ends the options' '-x' "$("$run" -- echo -x)"

is 'the shim is preloaded by absolute path' "$shim" "$(gets LD_PRELOAD)"
is 'the shim comes before what is preloaded already' "$shim:/lib/x.so" "$(LD_PRELOAD=/lib/x.so gets LD_PRELOAD 2>/dev/null)"
is 'nested runs preload once' "$shim" "$(gets LD_PRELOAD "$run")"
is '--labels is CMM_LABELS' background,large "$(gets CMM_LABELS -l background,large)"
is 'labels may stick to -l' red "$(gets CMM_LABELS -lred)"
is 'bit32 to bit63 need no scout' bit32,bit63 "$(gets CMM_LABELS --labels=bit32,bit63)"
is 'rules come in their order, options before what was inherited' \
    'tcp::22=ondemand 10.0.0.0/8=bypass udp::53=none' \
    "$(CMM_RULES=udp::53=none gets CMM_RULES -r tcp::22=ondemand --rule 10.0.0.0/8=bypass)"
is '--patience is CMM_PATIENCE' 5m "$(gets CMM_PATIENCE --patience 5m)"
is '--on-loss is CMM_ON_LOSS' reconnect "$(gets CMM_ON_LOSS --on-loss=reconnect)"
is '--scout is CMM_SCOUT' other "$(gets CMM_SCOUT --scout other)"
is 'a relative path of a scout holds in other directories, too' "$PWD/x/y.sock" "$(gets CMM_SCOUT --scout x/y.sock)"
is '--strict is CMM_STRICT' 1 "$(gets CMM_STRICT --strict)"
is 'letters stand together, the last one takes the value' 'red debug' \
    "$("$run" -vvl red sh -c 'echo $CMM_LABELS $CMM_LOG')"
is 'and it may stick to them' 'red info' "$("$run" -vlred sh -c 'echo $CMM_LABELS $CMM_LOG')"
is '-v is CMM_LOG=info' info "$(gets CMM_LOG -v)"
is '-vv is CMM_LOG=debug, and the inherited file stays' debug:/dev/null "$(CMM_LOG=warn:/dev/null gets CMM_LOG -vv)"

is 'an unknown label that no scout can know is 125 and one line' \
    "125 cmm-run: unknown label 'nosuch', and no scout to ask for the names of its configuration" \
    "$(outcome "$run" -l nosuch true)"
like 'a rule with a host name is 125 and one line' "125 cmm-run: rule 'example.org=red': *" \
    "$(outcome "$run" -r example.org=red true)"
like 'a rule with an unknown label is 125' "125 cmm-run: rule 'tcp::22=nosuch': unknown label 'nosuch'*" \
    "$(outcome "$run" -r tcp::22=nosuch true)"
is 'an empty rule is, too' "125 cmm-run: rule '': '=LABELS' is missing" "$(outcome "$run" -r '' true)"
for bad in 'x' '=' '10.0.0.0/33=red' '10.0.0/8=red' '2001:db8::1=red' '[2001:db8::]/129=red' '[10.0.0.1]=red' '[::1=red' \
    'icmp::1=red' 'tcp::0=red' 'tcp::65536=red' 'tcp::a=red' '10.0.0.1:=red' '=red+never' '=bypass+fail' '=red,bypass' '=red,' '/8=red'; do
    like "the rule '$bad' is 125 and one line" "125 cmm-run: rule '*': *" "$(outcome "$run" -r "$bad" true | sed 's/[^ -~]/X/g; 2s/.*/MORE/')"
done
for good in '=red' 'tcp::22=ondemand' 'udp::53=none' '10.0.0.0/8=bypass' '[2001:db8::]/32=bypass' '[2001:db8::1]:443=red,large+reconnect' \
    'tcp:10.1.2.3/32:80=small+fail' '0.0.0.0/0=red' '[::]/0=red+mptcp' ':80=blue' 'udp:=red'; do
    is "the rule '$good' is one" 0 "$(outcome "$run" -r "$good" true)"
done
like 'a bad inherited rule is 125 too' "125 cmm-run: rule 'x': *" "$(CMM_RULES=x outcome "$run" true)"
is 'a bad patience is 125' "125 cmm-run: patience is 90, 5m, 2h or forever, not 'soon'" \
    "$(outcome "$run" --patience soon true)"
is 'a bad policy is 125' "125 cmm-run: on-loss is fail, reconnect or mptcp, not 'never'" \
    "$(outcome "$run" --on-loss never true)"
is 'a patience of more than thirty years is, too' "125 cmm-run: patience is 90, 5m, 2h or forever, not '999999999h'" \
    "$(outcome "$run" --patience 999999999h true)"
is 'a scout that can have no such name is 125' "125 cmm-run: no scout can be called '.x'" "$(outcome "$run" --scout .x true)"
like 'nor one with too long a path' "125 cmm-run: no scout can be called '/*'" \
    "$(outcome "$run" --scout "/$(printf %0200d 1)" true)"
is 'a level of CMM_LOG that is none is 125' "125 cmm-run: CMM_LOG is error, warn, info or debug, with :FILE behind or not: 'loud:x'" \
    "$(CMM_LOG=loud:x outcome "$run" true)"
is 'while the scout is away, what it told a cmm-run around this one still holds' 'backup backup=40' \
    "$(CMM_NAMES=backup=40 "$run" -l backup sh -c 'echo $CMM_LABELS $CMM_NAMES')"
is 'and nothing else' "125 cmm-run: unknown label 'nosuch', and no scout to ask for the names of its configuration" \
    "$(CMM_NAMES=backup=40 outcome "$run" -l nosuch true)"
is 'an unknown option is 125' '125 cmm-run: unknown option --nosuch; see cmm-run --help' \
    "$(outcome "$run" --nosuch true)"
is 'an option without its value is 125' '125 cmm-run: option --rule needs a value; see cmm-run --help' \
    "$(outcome "$run" --rule)"
is 'no program is 125' '125 cmm-run: no program to run; see cmm-run --help' "$(outcome "$run" -v)"
is 'control characters do not reach the terminal' "125 cmm-run: unknown label '?[31m', and no scout to ask for the names of its configuration" \
    "$(outcome "$run" -l "$(printf '\033[31m')" true)"

what='not there is also what is in a directory of PATH that may not be looked into'
if [ "$(id -u)" != 0 ]; then
    mkdir -m 0 "$stage/closed"
    is "$what" '127 cmm-run: nosuch-program: not found' "$(PATH=$stage/closed:$PATH outcome "$run" nosuch-program)"
elif command -v setpriv >/dev/null && setpriv --reuid 65534 --clear-groups test -x "$run"; then
    is "$what" '127 cmm-run: nosuch-program: not found' \
        "$(chmod 700 "$stage" && PATH=$stage/closed:$PATH outcome setpriv --reuid 65534 --clear-groups "$run" nosuch-program)"
else
    skip "$what" 'no other user here'
fi
is 'a program that is not there is 127' '127 cmm-run: nosuch-program: not found' "$(outcome "$run" nosuch-program)"
echo 'exit 0' >"$stage/plain"
is 'a program that is not executable is 126' "126 cmm-run: $stage/plain: Permission denied" \
    "$(outcome "$run" "$stage/plain")"
printf '#!/no/such/interpreter\n' >"$stage/bad"
chmod +x "$stage/bad"
is 'a missing interpreter is 126, not 127: the program is there' \
    "126 cmm-run: $stage/bad: its interpreter is missing" "$(outcome "$run" "$stage/bad")"

is 'a static program is said to be, and runs' \
    "7 cmm-run: $static cannot be entered: it is statically linked; it runs as without libcmm" \
    "$(outcome "$run" "$static" 7)"
is '--strict refuses it' "125 cmm-run: $static cannot be entered: it is statically linked; it is not run (--strict)" \
    "$(outcome "$run" --strict "$static" 7)"
is 'CMM_STRICT does too' 125 "$(CMM_STRICT=1 outcome "$run" "$static" 7 | cut -d ' ' -f 1)"
printf '#!%s\n' "$static" >"$stage/script"
chmod +x "$stage/script"
like 'a script is what its interpreter is' '125 *statically linked*' "$(outcome "$run" --strict "$stage/script")"
mkdir "$stage/bin"
ln "$static" "$stage/bin/found-by-env" 2>/dev/null || cp "$static" "$stage/bin/found-by-env"
for line in 'env found-by-env' 'env -S found-by-env 7' 'env -S A=1 found-by-env' 'env -i found-by-env' 'env -S -u HOME found-by-env' \
    'env -S --chdir / found-by-env' 'env -Sfound-by-env' 'env -vS "found-by-env"'; do
    printf '#!/usr/bin/%s\n' "$line" >"$stage/script"
    like "so is one with '#!/usr/bin/$line'" '125 *statically linked*' \
        "$(PATH=$stage/bin:$PATH outcome "$run" --strict "$stage/script")"
done
# PROGRAM OFFSET BYTE: the same with another byte in its header.
but() {
    cp "$1" "$stage/but" && printf '%b' "$3" | dd of="$stage/but" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
but "$dynamic" 4 '\0001'
[ "$(od -An -tu1 -j4 -N1 "$dynamic")" -eq 2 ] || but "$dynamic" 4 '\0002'
like 'a program of another word size is said to be' '125 *: it is a ??-bit program; it is not run (--strict)' \
    "$(outcome "$run" --strict "$stage/but" 7)"
but "$dynamic" 18 '\0376'
like 'so is one for another machine' '125 *: it is for another kind of machine; *' "$(outcome "$run" --strict "$stage/but" 7)"
what='a program with capabilities of its own is said to be'
if [ "$(id -u)" = 0 ] && command -v setcap >/dev/null && command -v setpriv >/dev/null && chmod 755 "$stage" && cp "$dynamic" "$stage/capable" &&
    setcap cap_net_raw+ep "$stage/capable" 2>/dev/null && setpriv --reuid 65534 --clear-groups test -x "$run"; then
    like "$what" '125 *: it has file capabilities; *' "$(outcome setpriv --reuid 65534 --clear-groups "$run" --strict "$stage/capable" 7)"
else
    skip "$what" 'no setcap here, or no other user'
fi
like 'a Go program is said to be' '7 *: it is written in Go; *' "$(outcome "$run" "$go" 7)"
is 'an ordinary program is not complained of' 7 "$(outcome "$run" --strict "$dynamic" 7)"
# Root's own are no secret to root, so root makes one of somebody else; others have the system's.
setuid=$(find /bin/su /usr/bin/passwd -perm -4000 ! -uid "$(id -u)" 2>/dev/null | head -n 1)
if [ "$(id -u)" = 0 ] && cp "$dynamic" "$stage/setuid" && chown nobody "$stage/setuid" && chmod 4755 "$stage/setuid"; then
    setuid=$stage/setuid
fi
text='a setuid program of somebody else is refused by --strict'
if [ -n "$setuid" ]; then
    like "$text" '125 *: it is setuid; *' "$(outcome "$run" --strict "$setuid" 7)"
else
    skip "$text" 'there is none here'
fi

# Waits for a network, without a scout, and gives up. What the shim says has the process in front; the end of a wait may
# come too late to be said.
waits() {
    "$@" python3 -c 'import os, socket; os.write(1, b"%d\n" % socket.socket().connect_ex(("192.0.2.1", 80)))' 2>&1 |
        sed 's/^cmm\[[0-9]*\]/cmm[]/; /nothing waits/d'
}
no_scout="cmm[]: labels are asked for, but no scout answers: waiting for one (start it: cmm-scout --name $CMM_SCOUT &)"
is 'labels without a scout are said in one line, and end with the patience' "$no_scout
110" "$(waits "$run" -l red --patience 0.1)"
is 'with -v what is waiting, and why, is said, too' "$no_scout
cmm[]: waiting for red: no scout answers
110" "$(waits "$run" -v -l red --patience 0.1)"
is 'the file of CMM_LOG gets it instead' "110 1" \
    "$(CMM_LOG=info:$stage/log waits "$run" -l red --patience 0.1) $(grep -c 'waiting for red' "$stage/log")"
is 'that file is its owner'\''s' 600 "$(stat -c %a "$stage/log")"

is '--shell is the shell of the user, for a session' "red $shim" \
    "$(echo 'echo "$CMM_LABELS" "$LD_PRELOAD"' | SHELL=/bin/sh "$run" -l red --shell)"
is '--shell takes no program' '125 cmm-run: --shell and --print-env take no program: true' "$(outcome "$run" --shell true)"
is '--print-env says what a unit needs, for systemd and for a shell' "$shim|red,large|tcp::22=ondemand udp::53=none|" \
    "$(eval "$("$run" -l red,large -r tcp::22=ondemand -r udp::53=none --print-env)"
    echo "$LD_PRELOAD|$CMM_LABELS|$CMM_RULES|${CMM_LOG-}")"
is '--print-env leaves nothing to be taken for more than a word' 'info:a"b$c`d\e' \
    "$(eval "$(CMM_LOG='info:a"b$c`d\e' "$run" --print-env)"
    printf %s "$CMM_LOG")"
is 'a line break would end a variable there' '125 cmm-run: CMM_LOG holds a line break' \
    "$(CMM_LOG="$(printf 'info:a\nb')" outcome "$run" --print-env | head -n 1)"
is '--print-env checks what it prints' "125 cmm-run: patience is 90, 5m, 2h or forever, not 'soon'" \
    "$(outcome "$run" --patience soon --print-env)"


# Installed anywhere, it finds everything by its own place. The loader takes no blanks: a link has none.
DESTDIR="$stage/a place" meson install -C "$build" --no-rebuild --quiet >"$stage/install.log" 2>&1 || sed 's/^/# /' "$stage/install.log"
installed=$(find "$stage/a place" -name cmm-run -type f -perm -u+x)
is 'installed below a directory with a blank in its name it runs' 7 "$(outcome "$installed" "$dynamic" 7)"
alias=$("$installed" sh -c 'echo "$LD_PRELOAD"')
is 'the shim is loaded by a link to where it is installed' "$(find "$stage/a place" -name libcmm_preload.so)" "$(readlink "$alias")"
ok 'it is loaded, too' "$installed" grep -F "$stage/a place/" /proc/self/maps
like 'a link that a reboot takes away is not printed for a unit' '125 cmm-run: no variable can hold the name of the shim, *' \
    "$(outcome "$installed" --print-env)"
rm -f "$alias"
is 'without a PATH it still finds itself' 7 "$(PATH='' outcome "$run" "$dynamic" 7)"
ln -s "$run" "$stage/link"
is 'it finds the shim through a symbolic link' 7 "$(outcome "$stage/link" "$dynamic" 7)"
tap_end
