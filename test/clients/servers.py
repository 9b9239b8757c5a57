"""servers - the real servers, from Debian's packages, in the server's network of a world.

Each is started from a configuration written here, below the world's own directory, as a foreground child of this
process, and ends with the world: no service of the machine is touched. What they serve is made here too: `text` (some
hundred kilobytes), `large` (too much to be through before its network is cut off), a page and git repositories of both.
Deliberately absent: what a client asks, which is in programs.
"""

import glob
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Callable

from world import NAME, SERVER, Skip, run, within

IPERF3_PORTS = (5201, 5202, 5203, 5204, 5205)
TEXT, LARGE = 300_000, 6_000_000  # bytes


@dataclass
class Server:
    needs: tuple  # commands
    ports: tuple  # TCP, listened on when it is ready
    start: Callable
    root: bool = False  # it changes its user or groups: not in a user namespace
    single: bool = False  # it serves one at a time, and turns away who comes while it ends the last
    datagrams: tuple = ()  # ports, likewise
    ready: Callable = lambda world: True  # and whatever else it takes to be served


def write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def begin(world, name, *words, **more):
    with open(f"{world.root}/{name}.log", "ab") as log:
        subprocess.Popen(["nsenter", "--net=/run/netns/server", "--", *world.multipath, *words], stdin=subprocess.DEVNULL,
                         stdout=log, stderr=log, **more)


def quiet(*words, **more):
    done = run(*words, **more)
    if done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr}")


PAGE = """<!doctype html><title>a page</title><p id=p><script>
const ask = new XMLHttpRequest();
try {{
    ask.open('GET', '/{}', false);
    ask.send();
    p.textContent = `fetched ${{ask.responseText.length}}`;
}} catch (error) {{
    p.textContent = `failed: ${{error.name}}`;
}}
</script>
"""


def files(world):
    """word is a line. Text of hexadecimal digits: no compression on the way makes it small enough to be through too soon."""
    world.files = world.root + "/files"
    os.mkdir(world.files)
    write(world.files + "/word", "a word\n")
    for name, size in (("text", TEXT), ("large", LARGE)):
        digits = os.urandom(size // 2).hex()
        write(f"{world.files}/{name}", "".join(digits[i:i + 64] + "\n" for i in range(0, size, 64)))
    for name in ("text", "large"):
        write(f"{world.files}/{name}.html", PAGE.format(name))


def repositories(world):
    user = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    os.environ.update(GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null", GIT_TERMINAL_PROMPT="0")
    for name in ("text", "large"):
        work, bare = f"{world.root}/work-{name}", f"{world.files}/{name}.git"
        quiet("git", "init", "-q", work)
        shutil.copy(f"{world.files}/{name}", work)
        quiet("git", "-C", work, "add", ".")
        quiet("git", "-C", work, *user, "commit", "-q", "-m", "first")
        quiet("git", "clone", "-q", "--bare", work, bare)
        quiet("git", "-C", bare, "update-server-info")
        quiet("git", "-C", bare, "config", "http.receivepack", "true")


def archive(world):
    """A repository of Debian packages, and what apt-get is to know of it: nothing of the machine's own. HERE is its user's
    to say."""
    own, debs, index = world.root + "/apt", world.files + "/debs", ""
    os.mkdir(own)
    os.mkdir(debs)
    for name in ("text", "large"):
        control = f"Package: cmm-{name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: it\n"
        tree, deb = f"{own}/{name}", f"{debs}/{name}.deb"
        os.makedirs(tree + "/DEBIAN")
        os.chmod(tree + "/DEBIAN", 0o755)
        write(tree + "/DEBIAN/control", control)
        shutil.copy(f"{world.files}/{name}", tree)
        quiet("dpkg-deb", "-Znone", "-b", tree, deb)
        with open(deb, "rb") as f:
            content = f.read()
        index += f"{control}Filename: ./{name}.deb\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n"
    write(debs + "/Packages", index)
    sources = write(own + "/sources.list", f"deb [trusted=yes] http://{world.name}/debs ./\n")
    lines = [f'Dir::Etc {{ main "/dev/null"; parts "/dev/null"; sourceparts "/dev/null"; sourcelist "{sources}"; }};',
             'Dir::State "HERE/state"; Dir::State::status "/dev/null"; Dir::Cache "HERE/cache";',
             'Acquire::Languages "none";', "" if world.privileged else 'APT::Sandbox::User "root";']
    write(own + "/apt.conf", "\n".join(lines))


# ---- one by one ----

def certificate(world):
    quiet("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=" + NAME,
          "-addext", f"subjectAltName=DNS:{NAME},IP:{SERVER}", "-keyout", world.root + "/key.pem",
          "-out", world.root + "/cert.pem")


NGINX = """daemon off; master_process off; user root; pid {root}/nginx.pid; error_log {root}/nginx.error;
events {{ }}
http {{
    access_log off; default_type text/plain;
    types {{ text/html html; }}
    client_body_temp_path {root}/nginx.1; proxy_temp_path {root}/nginx.2; fastcgi_temp_path {root}/nginx.3;
    uwsgi_temp_path {root}/nginx.4; scgi_temp_path {root}/nginx.5;
    keepalive_timeout 600; # who keeps a connection through the loss of its network is not to meet an end of its own
    server {{
        listen 80; listen 443 ssl; root {root}/files;
        ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem;
        location /smart/ {{ # git's own protocol over HTTP, pushes too
            client_max_body_size 0; rewrite ^/smart(/.*)$ $1 break;
            fastcgi_pass unix:{root}/fcgi.sock;
            fastcgi_param SCRIPT_FILENAME {core}/git-http-backend; fastcgi_param PATH_INFO $fastcgi_script_name;
            fastcgi_param GIT_PROJECT_ROOT {root}/files; fastcgi_param GIT_HTTP_EXPORT_ALL 1; fastcgi_param REMOTE_USER a;
            fastcgi_param QUERY_STRING $query_string; fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
        }}
    }}
}}
"""


def nginx(world):
    certificate(world)
    core = run("git", "--exec-path").stdout.strip() if have("git") else "/nowhere"
    if have("fcgiwrap"):
        begin(world, "fcgiwrap", "fcgiwrap", "-c", "4", "-s", f"unix:{world.root}/fcgi.sock")
    conf = write(world.root + "/nginx.conf", NGINX.format(root=world.root, core=core))
    begin(world, "nginx", "nginx", "-e", world.root + "/nginx.error", "-c", conf)


def gateway_accepts(world):
    return not have("fcgiwrap") or world.accepts(world.root + "/fcgi.sock")


def git(world):
    begin(world, "git", "git", "daemon", "--export-all", "--reuseaddr", "--base-path=" + world.files, world.files)


SSHD = """Port 2222
HostKey {root}/ssh/host
AuthorizedKeysFile {root}/ssh/user.pub
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PidFile none
PrintMotd no
PrintLastLog no
Subsystem sftp internal-sftp
"""
SSH = """Host *
Port 2222
User root
IdentityFile {root}/ssh/user
UserKnownHostsFile {root}/ssh/known
GlobalKnownHostsFile /dev/null
BatchMode yes
LogLevel ERROR
"""


def sshd(world):
    own = world.root + "/ssh"
    os.mkdir(own, 0o700)
    os.makedirs("/run/sshd", exist_ok=True)
    for key in ("host", "user"):
        quiet("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{own}/{key}")
    with open(own + "/host.pub", encoding="ascii") as f:
        public = f.read()
    write(own + "/known", "".join(f"[{host}]:2222 {public}" for host in (SERVER, NAME)))
    write(own + "/config", SSH.format(root=world.root))
    conf = write(own + "/sshd", SSHD.format(root=world.root))
    begin(world, "sshd", shutil.which("sshd"), "-D", "-e", "-f", conf)


def rsync(world):
    conf = write(world.root + "/rsyncd.conf", f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\n"
                 f"[files]\npath = {world.files}\nread only = yes\n")
    begin(world, "rsync", "rsync", "--daemon", "--no-detach", "--config=" + conf)


def redis(world):
    begin(world, "redis", "redis-server", "--port", "6379", "--bind", "0.0.0.0", "--protected-mode", "no",
          "--save", "", "--dir", world.root)


def mosquitto(world):
    conf = write(world.root + "/mosquitto.conf", "listener 1883 0.0.0.0\nallow_anonymous true\nuser root\npersistence false\n"
                 "max_queued_messages 0\n")
    begin(world, "mosquitto", "mosquitto", "-c", conf)
    within(lambda: world.listens(1883), "mosquitto listens")
    for name in ("text", "large") if have("mosquitto_pub") else ():
        done = world.at_server("mosquitto_pub", "-h", "127.0.0.1", "-r", "-q", "1", "-t", name, "-f", f"{world.files}/{name}")
        assert done.returncode == 0, done.stderr


def iperf3(world):
    """It serves one at a time, and does not hear of one whose network is lost: a port each that loses it."""
    for port in IPERF3_PORTS:
        begin(world, "iperf3", "iperf3", "-s", "-B", SERVER, "-p", str(port))


def dnsmasq(world):
    begin(world, "dnsmasq", "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
          f"--host-record={NAME},{SERVER}", "--bind-interfaces", "--listen-address=" + SERVER, "--pid-file=")


def lines(world):
    """A line is asked; 9001 answers with text, 9003 with all of large, 9002 with a word and then never again, and 7 with
    that line, and with the next; by UDP, too."""
    for port, does in ((9001, f"read -r line; cat {world.files}/text"), (9002, "read -r line; echo begun; sleep 1000"),
                       (9003, f"read -r line; cat {world.files}/large"), (7, "cat")):
        begin(world, "socat", "socat", f"TCP-LISTEN:{port},fork,reuseaddr", "SYSTEM:" + does)
    begin(world, "socat", "socat", f"UDP-RECVFROM:7,fork,bind={SERVER}", "SYSTEM:cat")


def postgres(world):
    """Not as root, which it refuses to be: as nobody."""
    place, binaries = world.root + "/postgres", sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    os.mkdir(place)
    shutil.chown(place, "nobody", "nogroup")
    unprivileged = {"user": "nobody", "group": "nogroup", "extra_groups": [], "cwd": "/"}
    quiet(binaries + "/initdb", "-A", "trust", "-U", "postgres", "-N", "-D", place + "/data", **unprivileged)
    with open(place + "/data/pg_hba.conf", "a", encoding="ascii") as f:
        f.write("host all all 0.0.0.0/0 trust\n")
    begin(world, "postgres", "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", binaries + "/postgres",
          "-D", place + "/data", "-c", "listen_addresses=*", "-c", "unix_socket_directories=" + place, cwd="/")


def database_is_up(world):
    """Its eighth line is for this; who comes sooner is told to wait."""
    with open(world.root + "/postgres/data/postmaster.pid", encoding="ascii") as f:
        return f.read().splitlines()[7:8] == ["ready   "]


SERVERS = {
    "nginx": Server(("nginx", "openssl"), (80, 443), nginx, ready=gateway_accepts),
    "git": Server(("git",), (9418,), git),
    "sshd": Server(("sshd", "ssh-keygen"), (2222,), sshd, root=True),
    "rsync": Server(("rsync",), (873,), rsync, root=True),
    "redis": Server(("redis-server",), (6379,), redis),
    "mosquitto": Server(("mosquitto",), (1883,), mosquitto),
    "iperf3": Server(("iperf3",), IPERF3_PORTS, iperf3, single=True),
    "dnsmasq": Server(("dnsmasq",), (53,), dnsmasq, datagrams=(53,)),
    "lines": Server(("socat",), (9001, 9002, 9003, 7), lines, datagrams=(7,)),
    "postgres": Server(("file:/usr/lib/postgresql/*/bin/postgres", "setpriv"), (5432,), postgres, root=True, ready=database_is_up),
}


def classes(world):
    """The requests of Java's, compiled here."""
    if have("javac"):
        quiet("javac", "-d", world.root + "/java", *glob.glob(os.path.join(os.path.dirname(__file__), "asks", "*.java")))


def have(what):
    return bool(glob.glob(what[5:])) if what.startswith("file:") else shutil.which(what) is not None


def lacking(name, world):
    """Why that server cannot be: a sentence, or None."""
    server = SERVERS[name]
    missing = [need for need in server.needs if not have(need)]
    if missing:
        return f"{missing[0].removeprefix('file:')} is not installed"
    return "its server changes its user, which takes root" if server.root and not world.privileged else None


def settle(world, name):
    """Who serves one at a time has done with the last, and listens again. One whose network was lost is not done with
    unless this kernel can reset him; then his port is not asked again."""
    if SERVERS[name].single and world.can_reset:
        for port in SERVERS[name].ports:
            within(lambda port=port: world.listens(port) and not world.serves(port), f"{name} has done with the last")


def serve(world, names):
    """Starts these; whoever asks later finds them listening."""
    names = sorted(names)
    if not lacking("dnsmasq", world):
        world.names()
        names = sorted({*names, "dnsmasq"})
    files(world)
    classes(world)
    if have("git"):
        repositories(world)
    if have("apt-get") and have("dpkg-deb"):
        archive(world)
    for name in names:
        SERVERS[name].start(world)
    for name in names:
        for port in SERVERS[name].ports:
            within(lambda port=port: world.listens(port), f"{name} listens on {port}")
            world.port = port
        for port in SERVERS[name].datagrams:
            within(lambda port=port: world.hears(port), f"{name} hears on {port}")
        within(lambda name=name: SERVERS[name].ready(world), f"{name} is ready")
