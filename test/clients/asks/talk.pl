# talk HOST - each line of standard input to the server that echoes, and its answer to standard output.
use strict;
use warnings;
use IO::Socket::INET;
my $peer = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 7, Proto => 'tcp') or die "talk: connect: $!\n";
$peer->autoflush(1);
$| = 1;
while (my $line = <STDIN>) {
    print $peer $line;
    defined(my $answer = <$peer>) or die "talk: read: $!\n";
    print $answer;
}
