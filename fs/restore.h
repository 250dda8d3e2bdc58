// Taking paths of a volume's past back into its head, and what was done so. See fs/README.md,
// "Restoring".
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fs/progress.h"
#include "metadata/inode.h"
#include "metadata/instant.h"
#include "metadata/mutation.h"

namespace rw {

struct RestoreRequest {
  std::string volume;
  std::vector<std::string> paths;  // from the volume's root; links are not followed
  Instant at;
  std::string to;  // a directory of the volume; empty: each path goes where it was
  bool dry_run = false;
  // It takes back what was done at that instant: what was not there is removed.
  std::optional<Instant> undoes;
};

// What a dry run tells of one path below those that were asked for.
struct RestoreChange {
  enum class Kind { kCreate, kReplace, kRemove };
  Kind kind = Kind::kCreate;
  std::string path;  // as it is to be
  uint32_t type = 0;
  uint64_t bytes = 0;  // of what is to be there; of kRemove: of what is there
};
const char* RestoreChangeName(RestoreChange::Kind kind);  // "create", "replace", "remove"

struct RestoreReport {
  static constexpr size_t kMaxChanges = 1000;

  Instant source;               // as of when
  std::optional<Instant> done;  // when it was; absent: a dry run, or there was nothing to do
  // Each path that leads to something else now, or would.
  struct Path {
    std::string path;
    RestoreChange::Kind kind = RestoreChange::Kind::kCreate;
  };
  std::vector<Path> paths;
  uint64_t inodes = 0, bytes = 0;  // that were restored, or would be
  // Of a dry run: what would differ from now, and the first of it.
  uint64_t created = 0, replaced = 0, removed = 0, unchanged = 0, removed_bytes = 0;
  std::vector<RestoreChange> changes;
};

// What who has the volume mounted has to do meanwhile. All may be empty.
struct RestoreHooks {
  std::function<bool()> go_on;    // false ends it; nothing has changed then
  std::function<bool()> mounted;  // whether a kernel may know inodes of the volume
  // These names lead to something else now.
  std::function<void(const std::vector<RestoreNote::Place>&)> changed;
  // These have no name any more: unless the kernel knows them, they are to be forgotten.
  std::function<void(const std::vector<Ino>&)> nameless;
  ProgressSink progress;
};

// A rollback or a restore.
struct TakenBack {
  bool rollback = false;
  Instant at;
  Instant source;                  // as of when
  std::optional<Instant> undoes;   // it takes back what was done then
  std::vector<std::string> paths;  // of a restore
};

// What is to be undone next, or redone: the newest first. Nothing if there is none.
std::optional<TakenBack> ChooseUndo(const std::vector<TakenBack>& newest_first, bool redo);

}  // namespace rw
