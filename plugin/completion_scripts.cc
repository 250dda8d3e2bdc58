#include "plugin/completion_scripts.h"

namespace rw {

// Each runs the program that is being typed. It answers with a line that says what follows: the
// candidates themselves, a line each, or that files or directories are meant.
const CompletionScript kCompletionScripts[3] = {
    {"bash",
     R"(# bash completion for rewind: source it, or put it where bash-completion looks for it.
_rewind() {
  local answer
  COMPREPLY=()
  # As bash has the line: COMP_WORDS is split at = and : as well.
  mapfile -t answer < <("${1/#\~/$HOME}" complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
  case ${answer[0]} in
    files) compopt -o default ;;
    directories) compopt -o dirnames ;;
    values)
      COMPREPLY=("${answer[@]:1}")
      [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
      ;;
  esac
  return 0
}
complete -F _rewind rewind
)"},
    {"zsh", R"(#compdef rewind
# zsh completion for rewind: put it into a directory of $fpath as _rewind, or source it after compinit.
_rewind() {
  local -a answer values meanings keys key_meanings
  local line value program=${(Q)words[1]}
  answer=("${(@f)$(${program/#\~/$HOME} complete words "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
  case $answer[1] in
    files) _files; return ;;
    directories) _files -/; return ;;
    values) ;;
    *) return 1 ;;
  esac
  for line in "${(@)answer[2,-1]}"; do
    value=${line%%$'\t'*}
    if [[ $value == *= ]]; then
      keys+=("$value") key_meanings+=("${line/$'\t'/  -- }")
    else
      values+=("$value") meanings+=("${line/$'\t'/  -- }")
    fi
  done
  local found=1
  # Without sorting: what is likely comes first.
  (( $#values )) && compadd -V rewind -l -d meanings -a values && found=0
  (( $#keys )) && compadd -V rewind -S '' -l -d key_meanings -a keys && found=0
  return found
}
if [[ $funcstack[1] == _rewind ]]; then
  _rewind "$@"
else
  compdef _rewind rewind
fi
)"},
    {"fish",
     R"(# fish completion for rewind: put it into a directory of $fish_complete_path, or source it.
function __rewind_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l plain (string unescape -- "$typed"; or echo "$typed")
    set -l program $words[1]
    set -e words[1]
    set -l answer ($program complete words $words "$plain" 2>/dev/null)
    switch "$answer[1]"
        case files
            __fish_complete_path "$plain"
        case directories
            __fish_complete_directories "$plain"
        case values
            set -e answer[1]
            printf '%s\n' $answer
    end
end
complete -c rewind -k -f -a '(__rewind_complete)'
)"},
};

}  // namespace rw
