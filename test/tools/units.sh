#!/bin/sh
# units.sh SYSTEM USER - the service units are understood by systemd, and the system's leaves little to attack.
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"

if ! command -v systemd-analyze >/dev/null; then
    echo '1..0 # SKIP no systemd-analyze here'
    exit 0
fi

# What is not installed yet is replaced by what is there.
for unit in system user; do
    mkdir "$stage/$unit"
    sed 's,^\(Exec[A-Za-z]*\)="[^"]*",\1="/bin/true",; /^Documentation=/d' "$1" >"$stage/$unit/cmm-scout.service"
    shift
done
is 'systemd understands the system unit' '' "$(systemd-analyze verify "$stage/system/cmm-scout.service" 2>&1 | grep cmm-scout)"
is 'and the user unit' '' "$(systemd-analyze --user verify "$stage/user/cmm-scout.service" 2>&1 | grep cmm-scout)"
ok 'its exposure is 1.6 at most' systemd-analyze security --offline=true --threshold=16 "$stage/system/cmm-scout.service"
tap_end
