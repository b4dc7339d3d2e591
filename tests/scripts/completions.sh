#!/bin/bash
# Loads the completions of a program in the shells themselves, and completes a flag and a value there.
#
#   completions.sh PROGRAM
#
# PROGRAM is `oxicorn`, built with the feature `manual`. A shell that is not installed is named and left out.
set -euo pipefail

program=$(realpath "$1")
name=oxicorn
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$program" "$folder/$name"
export PATH="$folder:$PATH"

wrong() {
    echo "wrong: $1" >&2
    exit 1
}

# Whether what a shell has offered (the standard input) has a word.
offers() {
    grep -q -e "$2" || wrong "$1 does not offer $2"
}

complete_in_bash() {
    bash --norc -c '
        source <(oxicorn --completions bash)
        complete -p oxicorn > /dev/null
        COMP_WORDS=(oxicorn "$@"); COMP_CWORD=$#
        _oxicorn oxicorn "${@: -1}" "${@: -2:1}"
        printf "%s\n" "${COMPREPLY[@]}"
    ' bash "$@"
}

complete_in_fish() {
    fish --no-config -c 'oxicorn --completions fish | source; complete -C "oxicorn $argv"' -- "$*"
}

# An interactive zsh on a terminal of its own, which a tabulator asks for a completion.
complete_in_zsh() {
    "$name" --completions zsh > "$folder/_oxicorn"
    zsh -f -c '
        zmodload zsh/zpty
        zpty it zsh -f -i
        zpty -w it "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; PROMPT=; print rea\dy"
        zpty -r -m it line "*ready*"
        zpty -w -n it "oxicorn $2"$'"'\\t\\t'"'
        zpty -r -m it line "*$3*" && print -r -- "$line"
    ' zsh "$folder" "$1" "$2"
}

for shell in bash fish zsh; do
    if ! command -v "$shell" > /dev/null; then
        echo "$shell is not installed: left out"
        continue
    fi
    case $shell in
        zsh)
            timeout 20 bash -c "$(declare -f complete_in_zsh); name=$name folder=$folder; complete_in_zsh --worker-cl class" \
                | offers zsh --worker-class
            ;;
        *)
            "complete_in_$shell" --worker-cl | offers "$shell" --worker-class
            "complete_in_$shell" --completions f | offers "$shell" fish
            ;;
    esac
    echo "$shell completes"
done
