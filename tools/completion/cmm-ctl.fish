# cmm-ctl.fish - fish completion for cmm-ctl.

set -l commands status labels networks subscribers wait watch up down auto set why release reload
complete -c cmm-ctl -f
complete -c cmm-ctl -l scout -r -F -d 'Which scout'
complete -c cmm-ctl -l json -d 'One JSON object'
complete -c cmm-ctl -s t -l timeout -x -d 'Of wait: seconds'
complete -c cmm-ctl -l help
complete -c cmm-ctl -l version
complete -c cmm-ctl -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c cmm-ctl -n '__fish_seen_subcommand_from wait' \
    -a "(__fish_complete_list , 'cmm-ctl labels 2>/dev/null | tail -n +2 | string split -f 1 \' \'')"
complete -c cmm-ctl -n '__fish_seen_subcommand_from up down auto set' \
    -a "(cmm-ctl networks 2>/dev/null | tail -n +2 | string match -v '!*' | string split -f 1 ' ')"
complete -c cmm-ctl -n '__fish_seen_subcommand_from why release' \
    -a "(cmm-ctl subscribers 2>/dev/null | tail -n +2 | string split -f 1 ' ')"
