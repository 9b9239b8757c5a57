# cmm-run.fish - fish completion for cmm-run.

# The scout's labels, or the built-in ones where none answers.
function __cmm_labels
    set -l names (cmm-ctl labels 2>/dev/null | tail -n +2 | string match -r '^[^ !(]\S*')
    or set names red blue ondemand background small large unmetered wired wifi cellular
    string join \n $names
end

complete -c cmm-run -s l -l labels -x -d 'Default labels' \
    -a '(__fish_complete_list , __cmm_labels)'
complete -c cmm-run -s r -l rule -x -d '[PROTO:][ADDR[/LEN]][:PORT]=LABELS[+POLICY]'
complete -c cmm-run -l on-loss -x -a 'fail reconnect mptcp' -d 'Of a stream whose network is lost'
complete -c cmm-run -l patience -x -a '90 5m 2h forever' -d 'Longest wait for a network'
complete -c cmm-run -l scout -r -F -d 'Which scout'
complete -c cmm-run -s v -l verbose -d 'Say what is waiting'
complete -c cmm-run -l strict -d 'Refuse programs that cannot be entered'
complete -c cmm-run -l shell -d 'Your shell, for a session'
complete -c cmm-run -l print-env -d 'The variables, for a unit'
complete -c cmm-run -l help
complete -c cmm-run -l version
complete -c cmm-run -x -a '(__fish_complete_subcommand)'
