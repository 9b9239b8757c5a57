#!/bin/sh
# debian_systemd_checks.sh - run by debian_systemd.sh in its machine: the installed units, limits and recipes.
# shellcheck disable=SC2317 # functions that others call
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
unset CMM_SCOUT
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
conf=/etc/cmm/scout.conf drops=/etc/systemd/system/cmm-scout.service.d doc=/usr/local/share/doc/libcmm

# ---- a world: lan0, and a server of files behind it ----

ip netns add far
ip link add lan0 type veth peer name far0 netns far
ip -n far addr add 10.1.0.1/24 dev far0 && ip -n far addr add 10.9.0.1/32 dev lo
ip -n far link set lo up && ip -n far link set far0 up
ip addr add 10.1.0.2/24 dev lan0
mkdir /srv/files /etc/cmm && echo 'the file' >/srv/files/file
ip netns exec far python3 -m http.server --directory /srv/files 80 >/dev/null 2>&1 &

lan_up() {
    ip link set lan0 up && ip route add default via 10.1.0.1 dev lan0
}

# PATTERN: what cmm-ctl's table says of networks.
network() {
    # shellcheck disable=SC2254 # a pattern
    case $(cmm-ctl networks) in
    *$1*) ;;
    *) return 1 ;;
    esac
}

as_alice() {
    runuser -u alice -- "$@"
}

waits() {
    as_alice cmm-ctl --json subscribers | grep -q '"waiting":\["background"\]'
}

# Starts a job of alice's; `served' tells whether it got the file, which it waits for.
asks() {
    rm -f /home/alice/file
    as_alice cmm-run -l background curl -s -o /home/alice/file http://10.9.0.1/file 2>/home/alice/said &
    job=$!
}
served() {
    wait "$job" && [ "$(cat /home/alice/file)" = 'the file' ]
}

scout_pid() {
    systemctl show -P MainPID cmm-scout
}

# LEVEL: what the journal has of the scout's since `since' was set.
journal() {
    journalctl --sync
    journalctl -q -u cmm-scout _COMM=cmm-scout -o cat --since "@$since" -p "$1"
}
since=0

# ---- the system's unit ----

is 'the scout came with the machine' active "$(systemctl is-active cmm-scout)"
is 'there may be many message queues' 4096 "$(cat /proc/sys/fs/mqueue/queues_max)"
ok 'little of it is exposed' systemd-analyze security --no-pager --threshold=16 cmm-scout
is 'it had nothing to complain of' '' "$(journal notice)"
like 'and said where it listens' 'listening on /run/cmm/scout.sock*' "$(journal info)"

asks
within waits
pid=$(pgrep -u alice curl)
ok 'a user'\''s program has a queue of its own' sh -c 'cmm-ctl --json status | grep -q "\"queues\":1\b"'
like 'who waits for what is told' "*curl (pid $pid) waits for:*background*" "$(as_alice cmm-ctl why "$pid")"
lan_up
ok 'and it is served when a network comes' served
ok 'which is listed' network 'lan0 *up *'
like 'another user may not change what is offered' '[1-9]* cmm-ctl: *' "$(outcome as_alice cmm-ctl down lan0)"
ok 'root may' cmm-ctl down lan0
cmm-ctl auto lan0

printf '[network office]\nmatch = lan*\n' >$conf
ok 'systemctl reload' systemctl reload cmm-scout
ok 'has the configuration read again' network 'office *up *'
since=$(date +%s)
printf '[network office]\nmetric = much\n' >$conf
ok 'a broken configuration fails the reload' sh -c '! systemctl reload cmm-scout'
ok 'changes nothing' network 'office *up *'
like 'and is an error in the journal' '/etc/cmm/scout.conf:2: *' "$(journal err)"
printf '[network office]\nmatch = lan*\n' >$conf

ip link set lan0 down
asks
within waits
before=$(scout_pid)
kill -9 "$before"
within sh -c "systemctl is-active cmm-scout && [ \$(systemctl show -P MainPID cmm-scout) != $before ]"
within waits
lan_up
ok 'a scout that was killed comes back, and who waited is served' served

ip link set lan0 down
systemctl stop cmm-scout
is 'it stops' inactive "$(systemctl is-active cmm-scout)"
is 'as if nothing had happened' success "$(systemctl show -P Result cmm-scout)"
asks
systemctl start cmm-scout
within waits
lan_up
ok 'who came while there was none is served by the next' served

echo '[nonsense' >$conf
ok 'with a mistake in its configuration it does not start' sh -c '! systemctl restart cmm-scout'
is 'and is not tried again' failed "$(systemctl is-active cmm-scout)"
rm $conf

# ---- drop-ins ----

mkdir $drops
printf '[network office]\nmatch = lan*\ncheck = 10.9.0.1:80\n' >$conf
systemctl start cmm-scout
ok 'a check needs probes.conf' sh -c "! cmm-ctl wait -t 3 wired"
sed 's/192\.0\.2\.1/10.9.0.1/' $doc/probes.conf >$drops/probes.conf
systemctl daemon-reload && systemctl restart cmm-scout
ok 'with it, it is made' cmm-ctl wait -t 60 wired
is 'without multipath.conf there is no endpoint' '' "$(ip mptcp endpoint)"
cp $doc/multipath.conf $drops
systemctl daemon-reload && systemctl restart cmm-scout
ok 'with it' cmm-ctl wait -t 60 wired
like 'there is' '10.1.0.2 id [0-9]* subflow dev lan0*' "$(ip mptcp endpoint)"
systemctl stop cmm-scout
is 'as long as the scout' '' "$(ip mptcp endpoint)"
rm -r $drops $conf
systemctl daemon-reload && systemctl start cmm-scout

# ---- a service that sends only by such a network ----

cat >/etc/systemd/system/backup.service <<'END'
[Service]
Type=oneshot
ExecStart=curl -s -o /var/tmp/backup http://10.9.0.1/file
END
cmm-run -l background,unmetered -r udp::53=none --print-env >/etc/cmm/backup.env
mkdir /etc/systemd/system/backup.service.d
cat >/etc/systemd/system/backup.service.d/override.conf <<'END'
[Unit]
Wants=cmm-scout.service
After=cmm-scout.service
[Service]
EnvironmentFile=/etc/cmm/backup.env
END
systemctl daemon-reload
cmm-ctl set lan0 metered=yes
systemctl start --no-block backup
within sh -c 'cmm-ctl --json subscribers | grep -q "\"waiting\":\[\"background\",\"unmetered\"\]"'
is 'a service waits for its network' activating "$(systemctl is-active backup)"
cmm-ctl auto lan0
within sh -c '! systemctl is-active backup | grep -q activating'
is 'and goes by it' 'the file' "$(cat /var/tmp/backup)"

# ---- a user's unit ----

loginctl enable-linger alice
within systemctl is-active user@1000
export XDG_RUNTIME_DIR=/run/user/1000
ok 'a user has a scout of his own' as_alice systemctl --user enable --now cmm-scout
like 'that serves him' "*pid $(as_alice systemctl --user show -P MainPID cmm-scout)*" "$(as_alice cmm-ctl status)"
ok 'with the networks' as_alice cmm-ctl wait -t 60 wired
asks
ok 'and his programs' served
mkdir -p /home/alice/.config/cmm
printf '[network mine]\nmatch = lan*\n' >/home/alice/.config/cmm/scout.conf
ok 'reads his configuration' as_alice systemctl --user reload cmm-scout
like 'again' '*mine *up *' "$(as_alice cmm-ctl networks)"
before=$(as_alice systemctl --user show -P MainPID cmm-scout)
kill -9 "$before"
within sh -c "p=\$(runuser -u alice -- systemctl --user show -P MainPID cmm-scout) && [ \$p != 0 ] && [ \$p != $before ]"
ok 'comes back if it is killed' as_alice cmm-ctl wait -t 60 wired
ok 'and stops' as_alice systemctl --user stop cmm-scout
like 'then the system'\''s serves him' "*pid $(scout_pid)*" "$(as_alice cmm-ctl status)"
tap_end
exit $tap_failed
