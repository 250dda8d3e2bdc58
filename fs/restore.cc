#include "fs/restore.h"

#include <set>

namespace rw {

const char* RestoreChangeName(RestoreChange::Kind kind) {
  switch (kind) {
    case RestoreChange::Kind::kCreate:
      return "create";
    case RestoreChange::Kind::kReplace:
      return "replace";
    case RestoreChange::Kind::kRemove:
      return "remove";
  }
  __builtin_unreachable();
}

// An undo takes back the last that is not taken back and is no undo itself; so one after another go
// further and further back. A redo takes back the last undo, as long as nothing else came after it.
std::optional<TakenBack> ChooseUndo(const std::vector<TakenBack>& newest_first, bool redo) {
  std::set<Instant> void_now;  // what was taken back by what is not taken back itself
  for (const TakenBack& action : newest_first) {
    if (void_now.contains(action.at)) continue;
    if (action.undoes) void_now.insert(*action.undoes);
    bool undoes_undo = false;
    for (const TakenBack& other : newest_first)
      undoes_undo |= action.undoes && other.at == *action.undoes && other.undoes.has_value();
    const bool is_undo = action.undoes && !undoes_undo;
    if (redo) {
      if (is_undo) return action;
      if (!action.undoes) return std::nullopt;
    } else if (!action.undoes) {
      return action;
    }
  }
  return std::nullopt;
}

}  // namespace rw
