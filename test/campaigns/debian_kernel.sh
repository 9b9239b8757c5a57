#!/bin/sh
# debian_kernel.sh BUILD [MESON-TEST-ARGUMENT...] - the built tests on Debian's own kernel, in a virtual machine with this
# one's files.
#
# Nothing is built in it. The summary is Meson's, and so is the exit; 77 where there can be no such machine. Without
# arguments: all suites but house and clients. Where the processor is emulated that takes hours.
set -u
# shellcheck source=test/campaigns/machine.sh
. "$(dirname "$0")/machine.sh"

# As much of a system as the tests need, and the tests.
init() {
    cat <<END
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs run /run
ip link set lo up
uname -srv | tee $machine/began
while IFS= read -r word; do set -- "\$@" "\$word"; done <$machine/arguments
{
    meson test -C '$build' --no-rebuild --print-errorlogs -t 30 "\$@"
    echo \$? >$machine/status
} | cat
busybox poweroff -f
END
}

machine_needs meson
build=$(cd "$1" && pwd -P) || exit
shift
[ $# -gt 0 ] || set -- --no-suite house --no-suite clients
machine_make
printf '%s\n' "$@" >"$machine/arguments"
init >"$machine/init"
machine_run /
