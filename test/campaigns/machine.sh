# shellcheck shell=sh
# machine - a virtual machine with Debian's own kernel, for campaigns. Its / is a directory of this machine's, read only,
# with a tmpfs over it; what is in $machine both have, under the same path. No network. Without KVM the processor is
# emulated.

# Of the linux-image package; or name the file of another one.
machine_kernel=${CMM_KERNEL_DEB-}
machine_modules='virtio_pci 9pnet_virtio 9p overlay'

machine_skip() {
    echo "skipped: $*"
    exit 77
}

machine_needs() {
    [ "$(uname -m)" = x86_64 ] || machine_skip 'for x86_64 only'
    for need in qemu-system-x86_64 busybox cpio dpkg-deb apt-get "$@"; do
        command -v "$need" >/dev/null || machine_skip "$need is not installed"
    done
}

machine_get_kernel() {
    [ -n "$machine_kernel" ] || {
        name=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p')
        (cd "$machine" && apt-get -qq -o APT::Sandbox::User=root download "$name") || machine_skip 'the package linux-image-amd64 cannot be had'
        machine_kernel=$(echo "$machine"/linux-image-*.deb)
    }
    dpkg-deb -x "$machine_kernel" "$machine" && cd "$machine" && busybox depmod -b . "$(ls lib/modules)"
}

# What the kernel starts: puts / together, and leaves it to the program `init' in $machine.
machine_first() {
    cat <<EOF
#!/bin/busybox sh
mount -t devtmpfs dev /dev
for module in $machine_modules; do modprobe \$module; done
mount -t tmpfs changes /changes
mkdir /changes/upper /changes/work
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro root /lower
mount -t overlay -o lowerdir=/lower,upperdir=/changes/upper,workdir=/changes/work root /root
mkdir -p /root$machine /root/lib/modules
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 machine /root$machine
mount --bind /root$machine/lib/modules /root/lib/modules
for tool in modprobe rmmod; do ln -sf $machine/first/bin/busybox /root/sbin/\$tool; done
exec switch_root /root $machine/init
EOF
}

# Busybox and its libraries, and those modules without which there is no /.
machine_initramfs() {
    mkdir "$machine/first" && cd "$machine/first" && mkdir dev lower changes root || return
    { echo /bin/busybox && ldd /bin/busybox | grep -o '/[^ ]*'; } | cpio --quiet -pdmL . || return
    for tool in sh mount mkdir ln modprobe switch_root; do ln -s busybox bin/$tool; done
    cd "$machine" && for table in lib/modules/*/modules.dep; do
        echo "$table"
        for module in $machine_modules; do
            sed -n "s,^\(.*/$module\.ko\):,\1,p" "$table" | tr -s ' ' '\n' | sed "s,^,${table%/*}/,"
        done
    done | sort -u | cpio --quiet -pdm first && cd first || return
    machine_first >init && chmod 755 init && find . | cpio --quiet -o -H newc >../first.cpio
}

machine_make() {
    machine=$(mktemp -d) || exit
    trap 'rm -rf "$machine"' EXIT
    trap 'exit 1' HUP INT TERM
    chmod 755 "$machine"
    machine_get_kernel && machine_initramfs || exit
}

# ROOT, with $machine/init made: until the machine ends. Exits as told in $machine/status.
machine_run() {
    chmod 755 "$machine/init"
    # A /dev/kvm may be of no use, where this is a virtual machine itself.
    for accelerator in kvm tcg,thread=multi; do
        [ -e "$machine/began" ] ||
            qemu-system-x86_64 -accel $accelerator -cpu max -smp 2 -m 2048 -nic none -no-reboot \
                -kernel "$machine"/boot/vmlinuz-* -initrd "$machine/first.cpio" \
                -append 'console=ttyS0 quiet loglevel=1 panic=-1' \
                -virtfs "local,path=$1,mount_tag=root,security_model=none,readonly=on,multidevs=remap" \
                -virtfs "local,path=$machine,mount_tag=machine,security_model=none" \
                -display none -monitor none -serial stdio </dev/null
    done
    exit "$(cat "$machine/status" || echo 1)"
}
