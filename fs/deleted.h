// Paths that are no more.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fs/path_history.h"

namespace rw {

struct DeletedPath {
  std::string path;
  Instant gone;     // since when
  PathState state;  // what was there; state.last is the last instant at which it can be read
  bool rolled_back = false;
};

struct DeletedQuery {
  Instant since;
  size_t span = 0, link = 0;  // where a query goes on
  std::string from;           // a key
  size_t limit = 512;
};

struct DeletedPage {
  std::vector<DeletedPath> paths;  // in no order; a path may come again on another page
  std::optional<DeletedQuery> next;
};

// Paths that lead nowhere now, did so at an instant that is kept, and were taken away at or after
// `since`, by a removal or a rollback and not by a renaming. Walks the names that the volume's
// timelines have given, those that are still there included. Throws Refused(EIO).
DeletedPage FindDeleted(const Past& past, const DeletedQuery& query);

}  // namespace rw
