#!/bin/sh
# installed.sh BUILD - what `meson install` lays down is whole: programs build against it, pages lead somewhere.
# shellcheck disable=SC2016 # what sh -c expands
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
build=$1
root=$stage/root
DESTDIR=$root meson install -C "$build" --no-rebuild --quiet >"$stage/install.log" 2>&1 || sed 's/^/# /' "$stage/install.log"
run=$(find "$root" -path '*/bin/cmm-run')
prefix=${run%/bin/cmm-run}

# Below the prefix, wherever this system has its libraries: all of these.
missing() {
    for file in "$@"; do
        [ -n "$(find "$prefix" -path "$prefix/$file")" ] || printf '%s ' "$file"
    done
}
is 'all that is to be there is there' '' "$(missing bin/cmm-run bin/cmm-ctl bin/cmm-scout libexec/cmm/cmm-exec \
    include/libcmm.h 'lib*/libcmm_preload.so' 'lib*/libcmm_preload.so.1' 'lib*/pkgconfig/libcmm.pc' \
    share/man/man1/cmm-run.1 share/man/man1/cmm-ctl.1 share/man/man3/libcmm.3 share/man/man3/cmm_write.3 \
    share/man/man5/cmm-scout.conf.5 share/man/man7/cmm.7 share/man/man8/cmm-scout.8 \
    lib/systemd/system/cmm-scout.service lib/systemd/user/cmm-scout.service lib/sysctl.d/60-cmm.conf \
    share/bash-completion/completions/cmm-ctl share/zsh/site-functions/_cmm share/fish/vendor_completions.d/cmm-run.fish \
    share/doc/libcmm/examples/loop.c share/doc/libcmm/probes.conf)"

is 'a page that is an alias leads to one that is there' '' "$(grep -rl '^\.so ' "$prefix/share/man" | while read -r page; do
    [ -e "$prefix/share/man/$(sed -n 's/^\.so //p' "$page")" ] || echo "$page"
done)"
is 'a unit starts what is installed' "$prefix/bin/cmm-scout" \
    "$root$(sed -n 's/^ExecStart="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$prefix/lib/systemd/system/cmm-scout.service")"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name libcmm.pc)") && export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR="$root"
lib=$(dirname "$(find "$prefix" -name libcmm_preload.so)")
# A sanitized library needs its runtime linked first.
if nm -D "$lib/libcmm_preload.so" | grep -Eq '__(asan|tsan|ubsan)_'; then
    skip 'an example builds by pkg-config against what is installed' 'the library is sanitized'
else
    # shellcheck disable=SC2046 # several words
    ok 'an example builds by pkg-config against what is installed' \
        cc -o "$stage/messages" "$prefix/share/doc/libcmm/examples/messages.c" $(pkg-config --cflags --libs libcmm)
    like 'and runs' '2 usage: *' "$(LD_LIBRARY_PATH=$lib outcome "$stage/messages")"
fi
is 'cmm-run runs a program with the shim that is installed' "$lib/libcmm_preload.so" "$("$run" sh -c 'echo "$LD_PRELOAD"')"

# Who makes packages builds plainly: what is not the default must be understood, too.
ok 'it can be set up to be built plainly' \
    meson setup "$stage/plain" "$(dirname "$0")/../.." -Dtests=false --buildtype=plain
tap_end
