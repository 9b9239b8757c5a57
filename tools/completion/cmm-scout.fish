# cmm-scout.fish - fish completion for cmm-scout.

complete -c cmm-scout -f
complete -c cmm-scout -s c -l config -r -F -d Configuration
complete -c cmm-scout -l script -r -F -d Timetable
complete -c cmm-scout -l name -x -d 'Where it is found'
complete -c cmm-scout -l check -d 'Say what is wrong with the configuration'
complete -c cmm-scout -s v -l verbose -d 'Say more'
complete -c cmm-scout -l help
complete -c cmm-scout -l version
