"""`mlsuperb completion bash|zsh|fish`: a script that lets your shell complete commands, flags, groups, options and settings.

  bash:  mlsuperb completion bash >> ~/.bashrc          (bash 4 or newer)
  zsh:   mlsuperb completion zsh >> ~/.zshrc            (behind compinit)
  fish:  mlsuperb completion fish > ~/.config/fish/completions/mlsuperb.fish

Then `mlsuperb run upstream=hub<TAB>`, `head.num_<TAB>` (settings of the head that the line chooses), `+exp=v1/<TAB>`. Files and
folders, those of runs too, are completed by the shell itself. Hydra's own completion (`-sc`) takes seconds and knows neither
`python -m` nor commands.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any

# Each calls `mlsuperb completion words -- WORDS...`, the words of the line up to the cursor, and falls back to files.
SCRIPTS = {
    # bash breaks words at `=`, so what stands before it is taken off again
    "bash": """_mlsuperb() {
    local line="${COMP_LINE:0:COMP_POINT}" words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    mapfile -t COMPREPLY < <("${words[0]%-run}" completion words -- "${words[@]}" 2>/dev/null)
    [[ ${words[-1]} == *=* && $COMP_WORDBREAKS == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${words[-1]%=*}="}")
    [[ ${COMPREPLY[0]-} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o bashdefault -o default -F _mlsuperb mlsuperb mlsuperb-run
""",
    "zsh": """_mlsuperb() {
    local -a found
    found=(${(f)"$("${words[1]%-run}" completion words -- "${(@)words[1,CURRENT-1]}" "$PREFIX" 2>/dev/null)"})
    if (( ${#found} )); then
        compadd -Q -S '' -- ${(M)found:#*[=.]}
        compadd -Q -- ${found:#*[=.]}
    else
        compset -P '*='
        _files
    fi
}
compdef _mlsuperb mlsuperb mlsuperb-run
""",
    "fish": """function __mlsuperb
    set -l words (commandline -opc) (commandline -ct)
    set -l program (string replace -r -- '-run$' '' $words[1])
    set -l found ($program completion words -- $words 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c mlsuperb -f -a '(__mlsuperb)'
complete -c mlsuperb-run -f -a '(__mlsuperb)'
""",
}
# commands that take settings as mlsuperb.run does
WITH_SETTINGS = ("run", "evaluate", "data", "folders", "largest_batch", "units", "judge")


def candidates(line: Sequence[str]) -> list[str]:
    """Words that can stand in the place of the last word of `line`, which begins with the name of the program; empty for the
    shell to complete files."""
    from mlsuperb.__main__ import names

    program, *words, word = line
    if program.endswith("mlsuperb-run"):
        words = ["run", *words]
    if not words:
        return _beginning(word, [*names(), "help", "--help", "--version"])
    command, *given = words
    if command == "help" and not given:
        return _beginning(word, names())
    command = command.replace("-", "_")
    return _beginning(word, _after(command, given, word)) if command in names() else []


def _beginning(word: str, choices: Iterable[str]) -> list[str]:
    return [choice for choice in dict.fromkeys(choices) if choice.startswith(word)]


def _after(command: str, given: Sequence[str], word: str) -> Iterable[str]:
    """What may follow a command and the words `given` behind it."""
    parser = parser_of(command)
    for one in given:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and one in action.choices:
                parser = action.choices[one]
    flags = {flag: action for action in parser._actions for flag in action.option_strings}
    if given and given[-1] in flags and flags[given[-1]].nargs != 0:  # the flag's value
        wanted: Any = flags[given[-1]]
        return list(wanted.choices or getattr(wanted, "suggestions", ()))
    if word.startswith("-"):
        return [flag for flag in flags if flag.startswith("--")]
    places = [list(action.choices) for action in parser._actions if action.choices and not action.option_strings]
    found = [choice for choices in places if not set(choices) & set(given) for choice in choices]
    of_runs = (command == "evaluate" and not given) or (command == "units" and {"quality", "extract"} & set(given))
    if command in WITH_SETTINGS and not found and not of_runs:
        from mlsuperb.config.options import completions

        return completions(word, given)
    return found


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command's line: `run` has Hydra's; of the others it is what their `main` comes to parse with."""
    if command == "run":
        parser = argparse.ArgumentParser()
        for flag in ("--multirun", "--resolve"):
            parser.add_argument(flag, action="store_true")
        for flag in ("--config-dir", "--package"):
            parser.add_argument(flag)
        parser.add_argument("--cfg", choices=("job", "hydra", "all"))
        return parser
    main = import_module(f"mlsuperb.commands.{command}").main
    found: list[argparse.ArgumentParser] = []

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        found.append(parser)
        raise KeyboardInterrupt

    original, argparse.ArgumentParser.parse_known_args = argparse.ArgumentParser.parse_known_args, stop  # type: ignore
    try:
        main([])
    except KeyboardInterrupt:
        pass
    finally:
        argparse.ArgumentParser.parse_known_args = original  # type: ignore[method-assign]
    return found[0]


def main(arguments: Sequence[str]) -> None:
    """Print a shell's script; for these scripts, `words -- LINE...`, the words that can stand in the line's last place."""
    if list(arguments[:2]) == ["words", "--"]:
        sys.stdout.writelines(f"{one}\n" for one in candidates(arguments[2:]))
        return
    parser = argparse.ArgumentParser(
        prog="mlsuperb completion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS), metavar="bash|zsh|fish")
    sys.stdout.write(SCRIPTS[parser.parse_args(arguments).shell])
