#!/bin/sh
# debian_systemd.sh BUILD - what is installed, in a fresh Debian booted by systemd: a virtual machine.
#
# debian_systemd_checks.sh runs in it, as a service. 77 where there can be no such machine. $CMM_TREE may name a
# directory with a fresh Debian, which is then used and kept; else debootstrap makes one.
set -u
# shellcheck source=test/campaigns/machine.sh
. "$(dirname "$0")/machine.sh"

packages=systemd-sysv,dbus-user-session,dbus,libpam-systemd,iproute2,libmnl0,curl,procps,python3

tree() {
    [ -d "$tree/usr" ] || debootstrap --variant=minbase --include=$packages bookworm "$tree" >"$machine/debootstrap" ||
        machine_skip "no fresh Debian can be had: $(tail -n 1 "$machine/debootstrap")"
}

installed() {
    DESTDIR=$machine/installed meson install -C "$build" --no-rebuild --quiet >/dev/null &&
        cp "$here/debian_systemd_checks.sh" "$here/../tools/tap.sh" "$machine" && chmod -R go+rX "$machine"
}

init() {
    cat <<END
#!/bin/sh
cp -a $machine/installed/. / && ldconfig
useradd -m -u 1000 alice
ln -s /dev/null /etc/systemd/system/serial-getty@ttyS0.service
cat >/etc/systemd/system/checks.service <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=$machine/debian_systemd_checks.sh
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS >$machine/status'
ExecStopPost=systemctl --no-block poweroff
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
UNIT
mkdir -p /etc/systemd/system/default.target.wants
ln -s ../checks.service /etc/systemd/system/default.target.wants
systemctl enable --quiet cmm-scout
: >$machine/began
exec /sbin/init --show-status=no
END
}

machine_needs meson debootstrap
[ "$(id -u)" = 0 ] || machine_skip 'debootstrap needs root'
here=$(cd "$(dirname "$0")" && pwd -P) && build=$(cd "$1" && pwd -P) || exit
machine_make
tree=${CMM_TREE-$machine/tree}
tree && installed || exit
init >"$machine/init"
machine_run "$tree"
