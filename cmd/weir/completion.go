package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// The scripts ask the program itself what may come next, so they need no update when a command is added.
const bashCompletion = `# bash completion for weir: source <(weir completion bash)
_weir() {
	local cur=${COMP_WORDS[COMP_CWORD]}
	local -a words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ $cur == -* ]] && words+=("$cur")
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _weir weir
`

const zshCompletion = `#compdef weir
# zsh completion for weir: source <(weir completion zsh)
_weir() {
	local -a words_before options
	words_before=("${(@)words[1,CURRENT-1]}")
	[[ ${words[CURRENT]} == -* ]] && words_before+=("${words[CURRENT]}")
	options=("${(@f)$("${words_before[@]}" --generate-bash-completion 2>/dev/null)}")
	if [[ -n ${options[1]} ]]; then
		_describe 'weir' options
	else
		_files
	fi
}
compdef _weir weir
`

func completionCommand(term terminal) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell: bash, zsh or fish", ArgsUsage: "SHELL",
		BashComplete: func(*cli.Context) { complain(term.out, "bash\nzsh\nfish\n") },
		Action: func(cc *cli.Context) error {
			args, err := arguments(cc, "SHELL")
			if err != nil {
				return err
			}
			switch args[0] {
			case "bash":
				return term.print("%s", bashCompletion)
			case "zsh":
				return term.print("%s", zshCompletion)
			case "fish":
				script, err := newApp(wired(), term).ToFishCompletion()
				if err != nil {
					return fmt.Errorf("write fish completion: %w", err)
				}
				return term.print("%s", script)
			}
			return wrong(cc, "unknown shell %q: expected bash, zsh or fish", args[0])
		},
	}
}
