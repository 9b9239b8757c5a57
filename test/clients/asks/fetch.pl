# fetch HOST PORT LINE - a line to a server, and all of its answer to standard output.
use strict;
use warnings;
use IO::Socket::INET;
my ($host, $port, $line) = @ARGV;
my $peer = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Proto => 'tcp') or die "fetch: connect: $!\n";
$peer->autoflush(1);
print $peer "$line\n";
while (1) {
    my $got = sysread($peer, my $bytes, 65536);
    die "fetch: read: $!\n" unless defined $got;
    last unless $got;
    print $bytes;
}
