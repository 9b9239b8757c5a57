# complete.zsh DIRECTORY DUMP LINE - prints what zsh offers at the end of LINE, one a line: typed into a zsh on a terminal of its
# own, whose compadd tells. What compinit finds it keeps in DUMP, for the next.
zmodload zsh/zpty || exit 77
told=$(mktemp) || exit 1
zpty shell zsh -f -i
type_in() { zpty -w shell "$@" }
type_in "fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -d ${(q)2}"
type_in 'compadd() {
    local -a offered
    [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]] || { builtin compadd -A offered "$@"; print -rl -- $offered >>'$told' }
    builtin compadd "$@"
}'
type_in 'told() { print "(that is all)" >>'$told' }; zle -N told; bindkey "^I" complete-word; bindkey "^Xt" told'
type_in 'echo RE""ADY'
while zpty -r shell line && [[ $line != *READY* ]]; do :; done
zpty -w -n shell "$3"$'\t\C-Xt'
until grep -q 'that is all' $told; do sleep 0.02; done
zpty -d shell
grep -v 'that is all' $told
rm -f $told
