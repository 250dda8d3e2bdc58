// What a path led to, from now back to the oldest instant that is kept.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/past.h"

namespace rw {

// The path showed this at every instant in [from, last] that can be looked at.
struct PathState {
  Instant from;
  Instant last;  // can be looked at
  Ino ino = 0;   // 0: there was nothing
  Inode inode;
  TimelineId timeline = 0;  // of the inode's version
  Instant version;
  Instant arrived;  // since when the path has led to this inode; at the latest
  const Past::Span* span = nullptr;

  bool present() const { return ino != 0; }
};

// Walks from newer to older states. Each costs about as much as one step of a cursor of the index,
// where names do not change. Not thread-safe; `past` must outlive it.
class PathWalk {
 public:
  PathWalk(const Past& past, std::vector<std::string> path, Instant until)
      : past_(past), path_(std::move(path)), next_(past.LastReadable(until)) {}
  std::optional<PathState> Next();

 private:
  const Past& past_;
  const std::vector<std::string> path_;
  std::optional<Instant> next_;  // the newest instant that was not looked at
  const Past::Span* span_ = nullptr;
  Past::Found found_;
  std::unique_ptr<InodeVersions> versions_;  // of what was found, until `found_.since`
};

// One change, or several writes after each other.
struct PathChange {
  PathState state;         // after it
  Instant first;           // of the first of them; state.from is the last's
  uint64_t count = 1;      // of them
  Instant readable;        // the first instant that shows it
  bool at_oldest = false;  // nothing older is kept: how it came about is not known, unless `what`
                           // says so
  std::vector<std::string> what;         // in words, such as "created" or "mode 0644 -> 0600"
  std::string renamed_from, renamed_to;  // paths, if it was and they are known
};

struct PathHistoryQuery {
  Instant since;                // changes before it are not told
  Instant until = kInstantMax;  // nor are those after it
  bool each = false;            // every write for itself
  size_t limit = 256;           // of changes
  // So many states are looked at for one answer, and then to the end of a group: what an answer
  // may take.
  uint64_t max_states = 100'000;
};

struct PathHistory {
  std::vector<PathChange> changes;  // the newest first
  std::optional<Instant> next;      // `until` of a query that goes on; absent: there are no more
  bool ever = false;                // the path led somewhere, as far as was looked
};

// When something was at a path that has nothing at an instant, nearest to that, in words; nothing
// if never, as far as it is looked for. Throws Refused(EIO).
std::optional<std::string> WhenItWas(const Past& past, const std::vector<std::string>& path,
                                     Instant at);

// Throws Refused(EIO).
PathHistory ReadPathHistory(const Past& past, const std::vector<std::string>& path,
                            const PathHistoryQuery& query);

}  // namespace rw
