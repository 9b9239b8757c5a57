#!/bin/sh
# examples.sh CTL SCOUT LIBRARY DIRECTORY PYTHON - the worked examples do what they say, while their networks come and go.
# shellcheck disable=SC2016 # what sh -c expands
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
ctl=$1 scout=$2 library=$3 examples=$4 python=$5
pids=''

tap_clean() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
}

cat >"$stage/scout.conf" <<'END'
[network cell]
address = 127.0.2.1
labels = ondemand, small
[network wifi]
address = 127.0.1.1
labels = all
END
"$scout" -c "$stage/scout.conf" --name "$CMM_SCOUT" 2>"$stage/scout.log" &
pids="$pids $!"
within "$ctl" networks

# Answers lines with where they came from, and takes uploads: record by record, each number once and in order.
cat >"$stage/server.py" <<'END'
import os, socketserver, struct, sys
stage = sys.argv[1]
taken = {}  # upload -> bytes

# In one piece: threads' lines must not mix.
def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()

class Handler(socketserver.StreamRequestHandler):
    def exactly(self, n):
        data = self.rfile.read(n)
        if len(data) != n:
            raise EOFError
        return data
    def upload(self, name):
        got = taken.setdefault(name, [])
        while True:
            number, length = struct.unpack("!QI", self.exactly(12))
            data = self.exactly(length)
            if number > len(got):
                say("missing", len(got))
            if number == len(got):
                got.append(data)
                say("record", number, self.client_address[0])
            if not length:
                with open(os.path.join(stage, "uploaded"), "wb") as f:
                    f.write(b"".join(got))
                return self.wfile.write(b"k")
    def handle(self):
        try:
            first = self.rfile.peek(1)[:1]
            if first == b"u":
                return self.upload(self.exactly(32))
            for line in self.rfile:
                say("line", self.client_address[0], line.decode().strip())
                self.wfile.write(self.client_address[0].encode() + b" " + line)
        except (EOFError, ConnectionError):
            pass
    def finish(self):
        super().finish()
        say("left", self.client_address[0])

socketserver.ThreadingTCPServer.daemon_threads = True
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
with open(os.path.join(stage, "port.new"), "w") as f:
    f.write(str(server.server_address[1]))
os.rename(os.path.join(stage, "port.new"), os.path.join(stage, "port"))
server.serve_forever()
END
python3 "$stage/server.py" "$stage" >"$stage/served" &
pids="$pids $!"
within test -e "$stage/port"
port=$(cat "$stage/port")

# TEXT: the lines that the server got up to that one, since it was asked last.
seen=0
lines_to() {
    within sh -c 'tail -n +$(($1 + 1)) "$2" | grep -q "^line.* $3\$"' - "$seen" "$stage/served" "$1"
    tail -n +$((seen + 1)) "$stage/served" | sed -n 's/^line //p' >"$stage/lines"
    seen=$(wc -l <"$stage/served")
}

# What the example says; it has its input from a pipe that stays open.
begin() {
    rm -f "$stage/in"
    mkfifo "$stage/in"
    "$@" <"$stage/in" >"$stage/said" 2>"$stage/error" &
    pid=$!
    exec 3>"$stage/in"
}
# TEXT: the example has said it.
says() {
    within grep -q "$1" "$stage/said"
}

# ---- the three scenarios: messages in C and in Python ----

three_scenarios() {
    title=$1
    shift
    "$ctl" down wifi
    begin "$@" 127.0.0.1 "$port"
    echo 'ondemand one' >&3
    says 'sent.*one'
    echo 'background two' >&3
    says 'deferred: two'
    echo 'small three' >&3
    says 'sent.*three'
    lines_to three
    is "$title: what a network takes is sent by it, what none takes is deferred" '127.0.2.1 one 127.0.2.1 three' \
        "$(xargs <"$stage/lines")"
    "$ctl" auto wifi
    says 'sent.*two'
    echo 'background four' >&3
    says 'sent.*four'
    lines_to four
    is "$title: the thunk runs when the network comes, and the socket has moved to it" '127.0.1.1 two 127.0.1.1 four' \
        "$(xargs <"$stage/lines")"
    "$ctl" down wifi
    within sh -c 'tail -n +$(($1 + 1)) "$2" | grep -q "^left 127.0.1.1"' - "$seen" "$stage/served"
    echo 'ondemand five' >&3
    says 'sent.*five'
    exec 3>&-
    wait $pid
    is "$title: all is sent, it ends" 0 $?
    lines_to five
    is "$title: where a network is left, the next message goes by another" '127.0.2.1 five' "$(cat "$stage/lines")"
    "$ctl" auto wifi
    is "$title: nothing is complained of" '' "$(cat "$stage/error")"
}
three_scenarios 'messages' "$examples/messages"
# A sanitizer's runtime must be first in the process, and Python's is not.
if nm -D "$library" | grep -Eq '__(asan|tsan)_'; then
    skip 'messages.py: the same by ctypes' 'a sanitized library cannot be loaded by Python'
else
    LIBCMM=$library three_scenarios 'messages.py' python3 "$python"
fi

# ---- an event loop ----

"$ctl" down wifi
begin "$examples/loop" 127.0.0.1 "$port" background
echo one >&3
within sh -c '"$1" subscribers | grep -q "loop.*background"' - "$ctl"
is 'loop: with no network nothing is sent' '' "$(tail -n +$((seen + 1)) "$stage/served")"
"$ctl" auto wifi
says '127.0.1.1 one'
echo two >&3
says '127.0.1.1 two'
exec 3>&-
wait $pid
is 'loop: it goes on when its network comes, and ends with its input' '0 127.0.1.1 one 127.0.1.1 two' "$? $(xargs <"$stage/said")"
lines_to two
is 'loop: the server has each line once' '127.0.1.1 one 127.0.1.1 two' "$(xargs <"$stage/lines")"

# ---- an upload ----

head -c 400000 /dev/urandom >"$stage/file"
"$ctl" down wifi
begin "$examples/upload" 127.0.0.1 "$port" background
cat "$stage/file" >&3 &
feeder=$!
within sh -c '"$1" subscribers | grep -q "upload.*background"' - "$ctl"
"$ctl" auto wifi
within grep -q 'record 5' "$stage/served"
"$ctl" down wifi
"$ctl" auto wifi
wait $feeder
exec 3>&-
wait $pid
is 'upload: it ends well' 0 $?
ok 'upload: the file arrived whole, though its network came late and was away in between' cmp "$stage/file" "$stage/uploaded"
is 'upload: no record was left out' '' "$(grep missing "$stage/served")"
tap_end
