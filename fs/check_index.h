// Checks what the index says of one timeline at the instants that are kept: contents (each version
// of a chunk, and that what it points to can be read), names, link counts, sizes of directories.
//
// Instead of all trees at all instants, it looks at all versions once: what holds at the first kept
// instant that sees a state holds at all that see it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "fs/check_context.h"

namespace rw {

class JournalCheck;

// Contents. Data may be moved and freed meanwhile.
class ContentsCheck {
 public:
  ContentsCheck(CheckContext* context, const CheckedTimeline& timeline,
                const std::map<TimelineId, JournalCheck>& journals)
      : context_(context), timeline_(timeline), journals_(journals) {}
  bool Run();  // false if it was ended early

 private:
  struct Version {
    std::string key;
    Instant at;
    ChunkVersion value;
  };
  void CheckChunk(const std::string& prefix, const std::vector<Version>& versions);
  bool IsNeeded(const ChunkVersionKey& key, Instant first) const;
  // Empty if it can be read.
  std::string WhyUnreadable(const Extent& extent);
  void AddHurts(const std::string& prefix, const std::vector<Version>& versions);

  CheckContext* context_;
  const CheckedTimeline& timeline_;
  const std::map<TimelineId, JournalCheck>& journals_;
};

// Names. Nothing may be collected meanwhile.
class NamesCheck {
 public:
  NamesCheck(CheckContext* context, const CheckedTimeline& timeline)
      : context_(context), timeline_(timeline) {}
  bool Run();

 private:
  // What happens to an inode because names come and go.
  struct Event {
    Instant at;
    int links = 0;    // names that lead to it
    int entries = 0;  // names in it
    int subdirectories = 0;
  };
  struct Counts {
    int64_t links = 0, entries = 0, subdirectories = 0;
  };
  using Events = std::map<Ino, std::vector<Event>>;
  using InodeVersions = std::vector<std::pair<Instant, std::optional<Inode>>>;

  bool CollectEvents(Ino first, Ino last, Events* events);
  void AddEvents(std::string_view key, const std::vector<std::pair<Instant, NameValue>>& versions,
                 Ino first, Ino last, Events* events);
  bool CheckInodes(Ino first, Ino last, Events* events);
  void CheckInode(Ino ino, InodeVersions versions, std::vector<Event> events);
  void CheckState(Ino ino, const std::optional<Inode>& inode, const Counts& counts, Instant at,
                  std::string* last);
  bool CheckXattrs();
  bool CheckHeads();

  CheckContext* context_;
  const CheckedTimeline& timeline_;
  bool count_ = true;  // versions, once
};

// Puts paths to what is hurt: `inos` are those of the hurts, by their places in the report.
class PathFinder {
 public:
  PathFinder(Index* index, const CheckedTimeline& timeline);
  std::string PathOf(Ino ino, Instant at);

 private:
  std::string NameIn(const View& view, Ino parent, Ino ino) const;
  Index* index_;
  const CheckedTimeline& timeline_;
};

std::vector<View::Link> ChainOf(const CheckedTimeline& timeline, Instant at);

}  // namespace rw
