# shellcheck shell=sh
# world - a private world for a test: a client with the networks wifi0 and wwan0, and a server behind both.
#
# Whoever reads this file is started again in namespaces of its own (a user namespace, too, unless root) and is the
# client there; all that is made in it ends with it. Two worlds never meet, so tests run side by side. Where that
# is not permitted the test is skipped aloud. Speaks TAP by test/tools/tap.sh. Deliberately absent: a time limit
# of the whole, which the harness has.

world_skip() {
    printf '1..0 # SKIP %s\n' "$1"
    exit 0
}

# ---- going in ----

world_flags() {
    user=''
    [ "$(id -u)" = 0 ] || user=Ur
    # With a process namespace nothing outlives the test, however it ends.
    for flags in "-${user}nimpf --mount-proc --kill-child" "-${user}nim"; do
        # shellcheck disable=SC2086 # several options
        if unshare $flags sh -c 'mount -t tmpfs world /run && ip netns add probe && ip link add probe type veth' \
            >/dev/null 2>&1; then
            printf '%s' "$flags"
            return
        fi
    done
}

if [ -z "${WORLD-}" ]; then
    for need in ip unshare nsenter; do
        command -v $need >/dev/null || world_skip "$need is not installed"
    done
    flags=$(world_flags)
    [ -n "$flags" ] || world_skip 'namespaces (unshare) are not permitted here'
    export WORLD=1
    # shellcheck disable=SC2086 # several options
    exec unshare $flags -- "$0" "$@"
fi

# ---- the world ----

server=10.9.0.1
server6=fd00:9::1

# Runs in the server's network.
world_server() {
    nsenter --net=/run/netns/server -- "$@"
}

# Answers may come by a network that is not the preferred one; addresses stay while their link is down.
world_knobs() {
    for knob in ipv4/conf/all/rp_filter=0 ipv4/conf/default/rp_filter=0 ipv6/conf/all/keep_addr_on_down=1 \
        ipv6/conf/default/keep_addr_on_down=1; do
        (echo "${knob#*=}" >"/proc/sys/net/${knob%=*}") 2>/dev/null
    done
    return 0
}

# NAME NUMBER: the client is 10.NUMBER.0.2 there, the server 10.NUMBER.0.1; the same in fd00:NUMBER::. It is down.
world_cable() {
    ip link add "$1" type veth peer name "$1-end" netns server &&
        ip addr add "10.$2.0.2/24" dev "$1" &&
        ip -n server addr add "10.$2.0.1/24" dev "$1-end" &&
        ip -n server link set "$1-end" up || return 1
    ip addr add "fd00:$2::2/64" dev "$1" nodad 2>/dev/null
    ip -n server addr add "fd00:$2::1/64" dev "$1-end" nodad 2>/dev/null
    return 0
}

world_make() {
    mount -t tmpfs -o mode=0755 world /run && mkdir /run/tmp /run/home || return 1
    world_knobs
    ip netns add server && ip link set lo up && ip -n server link set lo up &&
        ip -n server addr add $server/32 dev lo || return 1
    ip -n server addr add $server6/128 dev lo nodad 2>/dev/null
    world_cable wifi0 1 && world_cable wwan0 2
}

# The routes go with the link.
world_up() {
    case $1 in
    wifi0) set -- wifi0 1 ;;
    wwan0) set -- wwan0 2 ;;
    esac
    printf '%s\n' "link set $1 up" "route replace default via 10.$2.0.1 dev $1 metric ${2}00" | ip -batch - || return 1
    ip -6 route replace default via "fd00:$2::1" dev "$1" metric "${2}00" 2>/dev/null
    return 0
}

world_down() {
    ip link set "$1" down
}

# By its address the server knows the network.
world_network_of() {
    case $1 in
    10.1.0.2 | *fd00:1::2) echo wifi0 ;;
    10.2.0.2 | *fd00:2::2) echo wwan0 ;;
    *) echo "unknown ($1)" ;;
    esac
}

if ! said=$(world_make 2>&1); then
    world_skip "no world of namespaces here: $said"
fi
export TMPDIR=/run/tmp HOME=/run/home
unset XDG_RUNTIME_DIR XDG_CONFIG_HOME http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/../tools/tap.sh"

# ---- processes ----

alive() {
    kill -0 "$1" 2>/dev/null
}

# Nanoseconds that process has been on a CPU so far, all its threads.
cpu_of() {
    cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# ---- the scout ----

# What the networks offer; a test may say otherwise before it starts the scout.
wifi_labels=all
cell_labels='ondemand, small'

# BUILD [OPTION=VALUE...]: starts a scout for wifi0 and wwan0.
world_scout() {
    build=$1
    shift
    cat >"$stage/scout.conf" <<SCOUT
[network wifi]
match = wifi0
labels = $wifi_labels

[network cell]
match = wwan0
labels = $cell_labels

[scout]
SCOUT
    # What is said last counts.
    printf '%s\n' hold-down=0 grace=0.2 "$@" |
        awk -F = '{ last[$1] = $2 } END { for (key in last) print key " = " last[key] }' >>"$stage/scout.conf"
    "$build/scout/cmm-scout" -c "$stage/scout.conf" --name "$CMM_SCOUT" 2>"$stage/scout.log" &
    # shellcheck disable=SC2034 # for tests that end it
    scout=$!
    within "$build/tools/cmm-ctl" status
}

# ---- a web server ----

# DIRECTORY: serves it at $server:80. Its log says who asked for what, the address first.
world_http() {
    : >"$stage/http.log"
    if command -v nginx >/dev/null; then
        cat >"$stage/nginx.conf" <<NGINX
daemon off;
master_process off;
user root;
pid $stage/nginx.pid;
error_log $stage/http.error;
events {}
http {
    access_log $stage/http.log;
    client_body_temp_path $stage/nginx.body;
    proxy_temp_path $stage/nginx.proxy;
    fastcgi_temp_path $stage/nginx.fastcgi;
    uwsgi_temp_path $stage/nginx.uwsgi;
    scgi_temp_path $stage/nginx.scgi;
    server {
        listen 80;
        listen [::]:80;
        root $1;
        location /slow/ {
            alias $1/;
            limit_rate 300k;
        }
    }
}
NGINX
        world_server nginx -e "$stage/http.error" -c "$stage/nginx.conf" &
    else
        world_server python3 -u -m http.server 80 --bind 0.0.0.0 --directory "$1" >/dev/null 2>"$stage/http.log" &
    fi
    within world_listens 80
}

# Something listens there, for the server's TCP port.
world_listens() {
    world_server cat /proc/net/tcp /proc/net/tcp6 | awk -v port="$(printf ':%04X' "$1")" \
        '$4 == "0A" && index($2, port) == length($2) - 4 { found = 1 } END { exit !found }'
}

# TCP connections that have ever reached the server: the kernel's own count.
world_connections() {
    # shellcheck disable=SC2016 # awk's
    world_server awk '/^Tcp:/ && !at { for (i = 2; i <= NF; i++) if ($i == "PassiveOpens") at = i; next }
        /^Tcp:/ { print $at }' /proc/net/snmp
}

world_peers() {
    sed -n "s|^\([0-9a-f.:]*\) .*\"GET $1 .*|\1|p" "$stage/http.log" | grep .
}

# PATH: by which networks it was asked for so far, a word each.
world_asked() {
    world_peers "$1" | while read -r peer; do
        world_network_of "$peer"
    done | xargs
}

# The same once there is something: a log is written after the answer.
world_served() {
    within world_peers "$1"
    world_asked "$1"
}
