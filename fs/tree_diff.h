// What became of a volume between two instants, found out from what was touched between them, not
// by walking its trees. See fs/README.md, "Two instants".
#pragma once

#include <string>
#include <vector>

#include "fs/past.h"
#include "fs/store.h"

namespace rw {

struct TreeChange {
  enum class Kind { kAdded, kRemoved, kChanged, kRenamed };
  Kind kind = Kind::kChanged;
  std::string path;      // as it is afterwards; of kRemoved: as it was before
  std::string old_path;  // of kRenamed
  std::optional<Inode> before, after;
  Ino ino_before = 0, ino_after = 0;
  std::vector<std::string> what;  // of kChanged and kRenamed, in words
  friend bool operator<(const TreeChange& a, const TreeChange& b) {
    return std::tie(a.path, a.kind, a.old_path) < std::tie(b.path, b.kind, b.old_path);
  }
};
const char* TreeChangeName(TreeChange::Kind kind);

struct TreeDiff {
  std::vector<TreeChange> changes;  // by path
  bool by_events = true;            // false: some of it had to be looked for in the whole index
};

// Both instants must be kept while it runs. Throws Refused: EIO; E2BIG for too many changes to be
// held in memory.
// `use_events`: false looks for all of it in the index (for tests).
TreeDiff CompareInstants(Store& store, const Past& past, Instant before, Instant after,
                         bool use_events = true);

}  // namespace rw
