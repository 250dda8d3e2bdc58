// What a check of a store looks for, and what it says (fs/README.md, "Check").
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "metadata/instant.h"

namespace rw {

struct CheckProgress {
  const char* step = "";  // "journal", "index", "names"
  uint64_t done = 0, total = 0;
};

struct CheckOptions {
  std::string volume;         // empty: all of them
  std::optional<Instant> at;  // what the volume showed then; absent: now and at all kept instants
  uint64_t bytes_per_second = 0;  // of reading; 0: no limit
  bool repair = false;
  std::function<void(const CheckProgress&)> progress;  // now and then
  std::function<bool()> go_on;                         // false: to end early
};

// Stored by nobody; names in JSON.
enum class HurtKind {
  kData,      // bytes of a file
  kRecord,    // a record of the journal, which nothing but making the index again needs
  kSegment,   // a segment's header
  kIndex,     // what the index says
  kNames,     // names and what they lead to, link counts, sizes of directories
  kTotals,    // what the volume is said to hold
  kTimeline,  // all of it
};
const char* HurtKindName(HurtKind kind);

struct Hurt {
  HurtKind kind = HurtKind::kData;
  std::vector<std::string> volumes;  // whose history it is
  std::string path;                  // as of `from`; empty if it is none's
  uint64_t offset = 0, length = 0;   // of the file's bytes, of kData
  Instant from;                      // hurt from here on …
  Instant until = kInstantMax;       // … until before here; kInstantMax: now
  std::string what;                  // one line; names file and position where there is one
  bool repaired = false;
};

struct CheckReport {
  uint64_t segments = 0, records = 0, bytes = 0;  // of journals
  uint64_t versions = 0, extents = 0;             // of chunks, and what they point to
  uint64_t names = 0, inodes = 0, xattrs = 0;     // versions of them
  std::vector<Hurt> hurts;
  uint64_t more = 0;           // that were found beyond what `hurts` has room for
  bool index_damaged = false;  // it has to be made again, by the next start
  bool complete = true;        // false: it was ended early

  bool sound() const;  // nothing is hurt that was not repaired
};

}  // namespace rw
