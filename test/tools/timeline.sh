#!/bin/sh
# timeline.sh TOP - the picture of a run in README is what the timeline tool draws of the demo's record.
# shellcheck disable=SC2016 # what sh -c expands
set -u
# shellcheck source=test/tools/tap.sh
. "$(dirname "$0")/tap.sh"
top=$1
timeline=$top/tools/timeline record=$top/man/demo.record

"$timeline" "$record" >"$stage/demo.svg"
ok 'the picture is drawn from the record' cmp "$stage/demo.svg" "$top/man/demo.svg"
ok 'it is well-formed' python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$top/man/demo.svg"
"$timeline" --text "$record" | sed 's/^/    /' >"$stage/text"
sed -n '/^    \$ tools\/timeline --text/,/^$/p' "$top/README.md" | sed 1d | grep . >"$stage/shown"
ok 'the letters in README are, too' diff "$stage/text" "$stage/shown"

# One of each kind of event, and what is none.
event() {
    printf '{"version":1,"at":%s,"event":"%s"}\n' "$@"
}
{
    event 100 'network lab up'
    event 101 'subscriber 7 curl came'
    event 102 'subscriber 7 curl waiting red'
    event 106 'subscriber 7 curl waits no more'
    event 107 'subscriber 7 curl left'
    event 107 'subscriber 7 curl by lab'
    event 108 'network lab gone'
    event 110 'subscriber 9 cmm-ctl came'
    event 110 'something else'
} >"$stage/record"
is 'networks come first, then who waited' 'lab curl' "$("$timeline" --text "$stage/record" | sed 1d | cut -d ' ' -f 1 | xargs)"
like 'a program ran, waited, went, and by which network' '*--* waits for red *##* by lab' "$("$timeline" --text "$stage/record" | tail -n 1)"
is 'a record may come by standard input' "$("$timeline" --text "$stage/record")" "$("$timeline" --text <"$stage/record")"
event 1 'network <b>&\"\u001b up' >"$stage/odd"
ok 'no name breaks the picture' sh -c '"$1" "$2" | python3 -c "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.stdin)"' - "$timeline" "$stage/odd"
like 'what is no event is said, and where' '1 timeline: line 1 is no event *' "$(echo x | outcome "$timeline")"
like 'so is a file that is not there' '1 timeline: /nowhere: *' "$(outcome "$timeline" /nowhere)"
is 'an unknown option is usage' '2 timeline: one file at most; see tools/timeline --help' "$(outcome "$timeline" --nosuch)"
tap_end
