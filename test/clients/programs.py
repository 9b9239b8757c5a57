"""programs - who is asked what, and what the contract makes of it: the table of the suite.

Every command is bash's; `run` in it stands for nothing, or for cmm-run with its options, and the rest is the same. Its
variables: name and server (the server, by name and by address), files (what it serves), world, asks. It begins in
an empty directory. One row a way of using a program:

ask     soon through. still: output, errors, exit code and descriptors are as without the shim. late: begun while no
        network matches, it waits, and then is as without.
take    a transfer that is cut in the middle. lost: with policy fail the program is told at once: exit code and
        message as `told` says, which is what it makes of a peer's reset. mptcp: with that policy, and a server that
        speaks Multipath TCP, it is whole.
again   whatever a program, or its user, does to try again: whole in the end, the rest by the other network.
"""

from dataclasses import dataclass, field

# What the contract says, for the table.
STILL = "What a program can see stays true: output, errors, exit code, descriptors"
LATE = "with labels and no matching network a connect, a lookup or a send waits, and then goes"
RESET = "fail: what had arrived is read, then ECONNRESET at once: its own error for a peer's reset"
AGAIN = "a program that retries meets a connect() that waits or goes by the other network"
ENDS = RESET + "; it takes any reset for an end, and has no other word for it"
CARRIED = "mptcp: the kernel's Multipath TCP carries the stream over, no byte changed, the program notices nothing"
TIME_PASSES = "reconnect: the connection is remade under the program's descriptor, and it only sees time pass"
MOVES = "datagram sockets always move"


@dataclass
class Program:
    name: str
    server: str
    needs: tuple
    ask: str
    take: str = ""
    told: tuple = ()  # exit code, or a set of those that chance chooses among; a regular expression in its standard error
    shows: str = ""  # and one in its output
    again: str = ""
    talk: str = ""
    questions: tuple = ("first\n", "second\n")
    heavy: bool = False
    carry: str = ""  # another way to take it for mptcp: who has ended his sending at once is given no second way
    stream: bool = True  # all it takes comes by TCP
    datagrams: bool = False  # they have no end: the program ends soon after its input, whatever is still to come
    untraced: str = ""  # why its descriptors are not looked at
    why: dict = field(default_factory=dict)  # another reason than the case's, by case

    def commands(self):
        return {"still": self.ask, "late": self.ask, "lost": self.take, "again": self.again, "reconnect": self.talk,
                "mptcp": (self.carry or self.take) if self.stream else ""}


HTTP = "http://$name"
SSH = "ssh -F $world/ssh/config"
# A page of the client's own, which is not there before the second question: what is asked after it, is asked later.
GATE = """exec 3<&0; { printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; cat <&3; } | nc.openbsd -N -l 127.0.0.1 8000 >/dev/null &
until ss -Hltn 'sport = 8000' | grep -q .; do sleep 0.05; done
"""
GIVE = "< <(echo give; exec sleep 600)"  # and no end of file
# Datagrams have no end of file: asks until there is an answer.
ANSWERED = "{{ echo give; until [ -s got ]; do sleep 0.02; done; }} | {} >got; cat got"
PARTS = "for try in 1 2 3 4 5; do {} && break; done; cat got"


def git(scheme, url, told):
    clone = f"run git clone -q {url}/{{}}.git clone && cat clone/{{}}"
    clone = 'export GIT_SSH_COMMAND="ssh -F $world/ssh/config"; ' + clone if scheme == "ssh" else clone
    return Program(f"git {scheme}", {"git": "git", "http": "nginx", "ssh": "sshd"}[scheme], ("git",),
                   ask=clone.format("text", "text"), take=clone.format("large", "large"), told=told,
                   again=f"for try in 1 2 3 4 5; do {clone.format('large', 'large')} && break; done")


def push(url):
    """Of a commit that is new each time, to a branch that is."""
    make = ("git init -q new && head -c {} $files/large >new/f && git -C new add f && "
            "git -C new -c user.name=a -c user.email=a@example.org commit -q -m $$ && ")
    go = f"run git -C new push -q {url}/text.git HEAD:refs/heads/$$ && echo pushed"
    return make.format(300_000) + go, make.format(5_000_000) + go, make.format(5_000_000) + \
        "for try in 1 2 3 4 5; do " + go + " && break; done"


def pushes(name, server, url, needs, taken, why, shell=""):
    ask, take, again = push(url)
    return Program(name, server, ("git", *needs), ask=shell + ask, take=shell + take if taken else "", told=taken,
                   again=shell + again, why=why)


SMART = ("fcgiwrap", "file:/usr/lib/git-core/git-http-backend")
GIT_SSH = 'export GIT_SSH_COMMAND="ssh -F $world/ssh/config"; '
APT = ("mkdir -p state/lists/partial cache/archives/partial; chmod -R a+rwX .; sed s,HERE,$PWD, $world/apt/apt.conf >conf; "
       "export APT_CONFIG=$PWD/conf; ")
LIGHT = [
    Program("curl http", "nginx", ("curl", "nc.openbsd"),
            ask=f"run curl -sS {HTTP}/text", take=f"run curl -sS {HTTP}/large",
            told=(56, "Connection reset by peer"),
            again=f"run curl -sS --retry 5 --retry-all-errors --retry-delay 1 -o got {HTTP}/large; cat got",
            talk=GATE + f"run curl -sS {HTTP}/word http://127.0.0.1:8000/ {HTTP}/word", questions=("", "second\n")),
    Program("curl https", "nginx", ("curl",),
            ask="run curl -sS --cacert $world/cert.pem https://$name/text",
            take="run curl -sS --cacert $world/cert.pem https://$name/large", told=(56, "reset|errno 104"),
            again=PARTS.format("run curl -sS --cacert $world/cert.pem -C - -o got https://$name/large")),
    Program("wget http", "nginx", ("wget",), ask=f"run wget -q -O - {HTTP}/text",
            again=f"run wget -q -O got {HTTP}/large; cat got"),
    Program("wget https", "nginx", ("wget",), ask="run wget -q --ca-certificate=$world/cert.pem -O - https://$name/text",
            again="run wget -q --ca-certificate=$world/cert.pem -O got https://$name/large; cat got"),
    git("git", "git://$name", (128, "reset")),
    git("http", HTTP, (128, "reset|RPC failed")),
    git("ssh", "ssh://$name$files", (128, "reset|hung up")),
    Program("git smart http", "nginx", ("git", *SMART),
            ask="run git clone -q http://$name/smart/text.git clone && cat clone/text",
            take="run git clone -q http://$name/smart/large.git clone && cat clone/large", told=(128, "reset|RPC failed"),
            again="for try in 1 2 3 4 5; do run git clone -q http://$name/smart/large.git clone && break; done; "
            "cat clone/large"),
    pushes("git push http", "nginx", "http://$name/smart", SMART, (), {"again": AGAIN + ": git's curl does by itself"}),
    pushes("git push ssh", "sshd", "ssh://$name$files", (), (128, "reset|hung up"), {}, GIT_SSH),
    Program("apt-get", "nginx", ("apt-get", "dpkg-deb"), untraced="how far its methods get before it ends them is chance",
            ask=APT + "run apt-get -qq update && run apt-get -qq download cmm-text && cat *.deb",
            again=APT + "apt-get -qq update && run apt-get -qq -o Acquire::Retries=5 download cmm-large && cat *.deb"),
    Program("ssh fdpass", "sshd", ("ssh", "nc.openbsd"),
            ask=f"run {SSH} -o ProxyUseFdpass=yes -o ProxyCommand='nc.openbsd -F %h %p' $name cat $files/text",
            take=f"run {SSH} -o ProxyUseFdpass=yes -o ProxyCommand='nc.openbsd -F %h %p' $name cat $files/large",
            told=(255, "")),
    Program("ssh", "sshd", ("ssh",), ask=f"run {SSH} $name cat $files/text", take=f"run {SSH} $name cat $files/large",
            told=(255, "")),
    Program("scp", "sshd", ("scp",), ask="run scp -q -F $world/ssh/config $name:$files/text got && cat got",
            take="run scp -q -F $world/ssh/config $name:$files/large got && cat got",
            told=({1, 255}, "lost connection|closed|reset")),
    Program("rsync", "rsync", ("rsync",), ask="run rsync rsync://$name/files/text got && cat got",
            take="run rsync rsync://$name/files/large got && cat got",
            told=({10, 12}, "Connection reset by peer|unexpectedly closed"),
            again=PARTS.format("run rsync --partial rsync://$name/files/large got")),
    Program("rsync ssh", "sshd", ("rsync", "ssh"), ask=f"run rsync -e \"{SSH}\" $name:$files/text got && cat got",
            take=f"run rsync -e \"{SSH}\" $name:$files/large got && cat got", told=({12, 255}, "unexpectedly closed|reset"),
            again=PARTS.format(f"run rsync --partial -e \"{SSH}\" $name:$files/large got")),
    Program("nc", "lines", ("nc.openbsd",), ask="echo give | run nc.openbsd $name 9001",
            take="echo give | run nc.openbsd $name 9003", told=(0, ""), why={"lost": ENDS},
            talk="run nc.openbsd -N $name 7"),
    Program("ncat", "lines", ("ncat",), ask="echo give | run ncat $name 9001",
            carry="echo give | run ncat --no-shutdown $name 9003",
            take="echo give | run ncat $name 9003",
            told=(1, "reset"),
            talk="run ncat $name 7"),
    Program("socat", "lines", ("socat",), carry=f"run socat -t 0.5 - TCP4:$name:9003 {GIVE}",
            ask="echo give | run socat -t 60 - TCP4:$name:9001",
            take="echo give | run socat -t 60 - TCP4:$name:9003", told=(0, ""), why={"lost": ENDS},
            talk="run socat -t 60 - TCP4:$name:7"),
    Program("socat udp", "lines", ("socat",), ask=ANSWERED.format("run socat -t 0.1 - UDP4:$name:7"),
            talk="run socat -t 1 - UDP4:$name:7", datagrams=True, why={"reconnect": MOVES}),
    Program("nc udp", "lines", ("nc.openbsd",), ask=ANSWERED.format("run nc.openbsd -u -q 0 $name 7"),
            talk="run nc.openbsd -u -q 1 $name 7", datagrams=True, why={"reconnect": MOVES}),
    Program("redis-cli", "redis", ("redis-cli",), ask="run redis-cli -h $name set key value; run redis-cli -h $name get key",
            take="run redis-cli -h $name eval \"return string.rep('0123456789abcdef', 400000)\" 0", told=(1, "reset"),
            talk="run redis-cli -h $name", questions=("set talk value\n", "get talk\n")),
    Program("mosquitto_pub", "mosquitto", ("mosquitto_pub", "mosquitto_sub"),
            ask="run mosquitto_pub -h $name -q 1 -r -t small -f $files/text && mosquitto_sub -h $name -C 1 -t small",
            take="run mosquitto_pub -h $name -q 1 -t taken -f $files/large", told=(7, "connection was lost"),
            again="for try in 1 2 3 4 5; do run mosquitto_pub -h $name -q 1 -r -t $$ -f $files/large && break; done; "
            "mosquitto_sub -h $name -C 1 -t $$"),
    Program("mosquitto_sub", "mosquitto", ("mosquitto_sub",), ask="run mosquitto_sub -h $name -C 1 -t text",
            again="run mosquitto_sub -h $name -C 1 -t large"),
    Program("iperf3 tcp", "iperf3", ("iperf3",), ask="run iperf3 -c $name -n 1M >/dev/null",
            take="run iperf3 -c $name -p 5202 -n 6M >/dev/null", told=(1, "reset")),
    Program("iperf3 -Z", "iperf3", ("iperf3",), ask="run iperf3 -c $name -Z -n 1M >/dev/null",
            take="run iperf3 -c $name -p 5203 -Z -n 6M >/dev/null", told=(1, "reset")),
    Program("iperf3 -R", "iperf3", ("iperf3",), ask="run iperf3 -c $name -R -n 1M >/dev/null",
            take="run iperf3 -c $name -p 5204 -R -n 6M >/dev/null", told=(1, "reset")),
    Program("iperf3 udp", "iperf3", ("iperf3",), ask="run iperf3 -c $name -u -b 8M -n 400K >/dev/null",
            take="run iperf3 -c $name -p 5205 -u -b 2M -n 2M >/dev/null", told=(1, ""), stream=False,
            why={"lost": "datagrams move, but the server knows the old address; the connection for control is reset"}),
    Program("busybox wget", "nginx", ("busybox",), ask=f"run busybox wget -q -O - {HTTP}/text",
            take=f"run busybox wget -q -O - {HTTP}/large", told=(1, "")),
    Program("busybox nc", "lines", ("busybox",), carry=f"run busybox nc $name 9003 {GIVE}",
            ask="echo give | run busybox nc $name 9001",
            take="echo give | run busybox nc $name 9003", told=(0, ""), why={"lost": ENDS}),
    Program("python urllib", "nginx", ("python3",), ask="run python3 $asks/fetch.py urllib $name /text",
            take="run python3 $asks/fetch.py urllib $name /large", told=(1, "ConnectionResetError"),
            talk="run python3 $asks/talk.py http $name"),
    Program("python asyncio", "nginx", ("python3",), ask="run python3 $asks/fetch.py asyncio $name /text",
            take="run python3 $asks/fetch.py asyncio $name /large", told=(1, "ConnectionResetError"),
            talk="run python3 $asks/talk.py streams $name"),
    Program("node", "nginx", ("node",), ask="run node $asks/fetch.js $name /text", take="run node $asks/fetch.js $name /large",
            told=(1, "ECONNRESET"),
            talk="run node $asks/talk.js $name"),
    Program("perl", "lines", ("perl",), ask="run perl $asks/fetch.pl $name 9001 give",
            take="run perl $asks/fetch.pl $name 9003 give", told=(104, "reset"),
            talk="run perl $asks/talk.pl $name"),
    Program("bash /dev/tcp", "lines", ("bash",), ask="run bash -c 'exec 3<>/dev/tcp/'$name'/9001; echo give >&3; cat <&3'",
            take="run bash -c 'exec 3<>/dev/tcp/'$name'/9003; echo give >&3; cat <&3'",
            told=(1, "reset|Broken pipe"), why={"lost": RESET + " (cat, an exec'd holder, may see EPIPE)"}),
    Program("dig", "dnsmasq", ("dig",),
            ask="run dig @$server +timeout=60 +short $name; run dig @$server +timeout=60 +tcp +short $name",
            again="run dig @$server +timeout=2 +tries=9 +short $name | grep -v '^;;'", why={"again": MOVES}),
    Program("getent", "dnsmasq", ("getent",), ask="run getent ahosts $name", again="run getent ahosts $name",
            why={"again": "the resolver's own packets follow the routing table, and it asks again"}),
    Program("openssl s_client", "nginx", ("openssl",),
            ask="printf 'GET /text HTTP/1.0\\r\\n\\r\\n' | run openssl s_client -quiet -verify_quiet -CAfile $world/cert.pem "
            "-connect $name:443 | sed /^Date:/d",
            take="printf 'GET /large HTTP/1.0\\r\\n\\r\\n' | run openssl s_client -quiet -verify_quiet "
            "-CAfile $world/cert.pem -connect $name:443 | sed /^Date:/d", told=(104, "errno=104")),
]

HEAVY = [
    Program("psql", "postgres", ("psql",), heavy=True, ask="run psql -h $name -U postgres -Atc 'select 6 * 7'",
            take="run psql -h $name -U postgres -Atc \"select repeat(md5(g::text), 20) from generate_series(1, 9000) g\"",
            told=(2, "closed the connection unexpectedly|reset")),
    Program("java Socket", "lines", ("java", "javac"), heavy=True, ask="run java -cp $world/java Fetch socket $name 9001 give",
            take="run java -cp $world/java Fetch socket $name 9003 give", told=(1, "reset"),
            talk="run java -cp $world/java Talk $name"),
    Program("java NIO", "lines", ("java", "javac"), heavy=True, ask="run java -cp $world/java Fetch nio $name 9001 give",
            take="run java -cp $world/java Fetch nio $name 9003 give", told=(1, "reset")),
    Program("chromium", "nginx", ("chromium",), heavy=True, untraced="it has many processes, whose number is chance",
            ask="run chromium --headless --no-sandbox --disable-gpu --user-data-dir=$PWD/profile --dump-dom "
            f"{HTTP}/text.html 2>/dev/null",
            take="run chromium --headless --no-sandbox --disable-gpu --user-data-dir=$PWD/profile --dump-dom "
            f"{HTTP}/large.html 2>/dev/null", told=(0, ""), shows="failed: NetworkError"),
]
PROGRAMS = LIGHT + HEAVY
