# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""The scripts by which shells ask `flux completion` what may stand at the cursor."""
from __future__ import annotations

BASH = r"""# Completion of @names@ for bash.
_flux_session() {
    local word cur=${COMP_WORDS[COMP_CWORD]} IFS=$'\n'
    [[ $cur == "=" ]] && cur=
    COMPREPLY=()
    while read -r word; do
        case $word in
        :files) compopt -o filenames; COMPREPLY+=($(compgen -f -- "$cur")) ;;
        :command) compopt -o filenames; COMPREPLY+=($(compgen -c -- "$cur")) ;;
        *) COMPREPLY+=("$word"); [[ $word == *= ]] && compopt -o nospace ;;
        esac
    done < <("${COMP_WORDS[0]}" completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    return 0
}
complete -F _flux_session @names@
"""

ZSH = r"""#compdef @names@
# Completion of @names@ for zsh.
_flux_session() {
    local line
    local -a found
    for line in "${(@f)$("${words[1]}" completion zsh -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
        '') ;;
        :files) compset -P '--*='; _files ;;
        :command) _command_names -e; _files ;;
        *$'\t'*) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        *) found+=("${line//:/\\:}") ;;
        esac
    done
    (( $#found )) && _describe 'flux' found
    return 0
}
compdef _flux_session @names@
"""

FISH = r"""# Completion of @names@ for fish.
function __flux_session
    set -l before (commandline -opc)
    for line in ($before[1] completion fish -- $before[2..-1] (commandline -ct) 2>/dev/null)
        switch $line
            case ':files' ':command'
                set -l token (commandline -ct)
                set -l option (string match -r '^--[^=]*=' -- $token)
                for path in (__fish_complete_path (string replace -- "$option" '' $token))
                    echo $option$path
                end
            case '*'
                echo $line
        end
    end
end
for name in @names@
    complete -c $name -f -a '(__flux_session)'
end
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

#: Where a shell looks below a prefix for the completion of `flux-session`. That of `flux` is flux-core's.
INSTALLED = {
    "bash": "share/bash-completion/completions/flux-session",
    "zsh": "share/zsh/site-functions/_flux-session",
    "fish": "share/fish/vendor_completions.d/flux-session.fish",
}


def script(shell: str, *names: str) -> str:
    """The script by which "bash", "zsh" or "fish" completes the commands of these names."""
    return SCRIPTS[shell].replace("@names@", " ".join(names))
