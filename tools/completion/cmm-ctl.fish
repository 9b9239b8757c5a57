# cmm-ctl.fish - fish completion for cmm-ctl.

# The first column of a table, without what goes on below itself and without remarks.
function __cmm_column
    cmm-ctl $argv 2>/dev/null | tail -n +2 | string match -r '^[^ !(]\S*'
end

# The scout's labels, or the built-in ones where none answers.
function __cmm_labels
    set -l names (__cmm_column labels)
    or set names red blue ondemand background small large unmetered wired wifi cellular
    string join \n $names
end

set -l commands status labels networks subscribers wait watch up down auto set why release reload
complete -c cmm-ctl -f
complete -c cmm-ctl -l scout -r -F -d 'Which scout'
complete -c cmm-ctl -l json -d 'One JSON object'
complete -c cmm-ctl -s t -l timeout -x -d 'Of wait: seconds'
complete -c cmm-ctl -l help
complete -c cmm-ctl -l version
complete -c cmm-ctl -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c cmm-ctl -n '__fish_seen_subcommand_from wait why' -a '(__fish_complete_list , __cmm_labels)'
complete -c cmm-ctl -n '__fish_seen_subcommand_from up down auto set' -a '(__cmm_column networks)'
complete -c cmm-ctl -n '__fish_seen_subcommand_from set' -a 'metered=yes metered=no metered=auto labels='
complete -c cmm-ctl -n '__fish_seen_subcommand_from why release' -a '(__cmm_column subscribers)'
