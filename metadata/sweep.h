// One walk over the index: drops the versions that no kept instant needs, and finds out which parts
// of the journals' segments somebody still refers to.
//
// A version that was written at `v` and followed by another at `w` is what every instant in [v, w)
// sees of its key. It goes when no kept instant lies in there, or when its inode had ended or was
// cut off below it at the first that does: what is gone from a timeline does not come back, so the
// first kept instant sees the most. So versions within a timeline's range are not even looked at:
// all of them stay, and of what was stored before the range they refer only to what its first
// instant sees, too. So a walk takes as long as what is kept before the ranges, and what goes.
// Where the versions below one of a chunk go, that one becomes full before they do: what a reader
// at a kept instant finds is the same before, during and after a walk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metadata/index.h"
#include "metadata/kept.h"
#include "metadata/live_map.h"
#include "metadata/view.h"

namespace rw {

// Not thread-safe; the index may be written to meanwhile, but by one Sweep at a time.
class Sweep {
 public:
  struct Timeline {
    Ino first_ino = 1;
    bool has_parent = false;
    const KeptInstants* kept = nullptr;
  };
  struct Options {
    bool apply = true;  // false: only counts what would go
    // Called now and then; false ends the walk. What it has done until then stays.
    std::function<bool()> go_on = [] { return true; };
  };
  struct Counts {
    uint64_t versions = 0;       // walked
    uint64_t dropped = 0;        // of them
    uint64_t dropped_bytes = 0;  // of keys and values
    uint64_t made_full = 0;
  };

  // Timelines that are not in `timelines` keep everything.
  Sweep(Index* index, std::map<TimelineId, Timeline> timelines, LiveMap* live, Options options)
      : index_(index),
        timelines_(std::move(timelines)),
        live_(live),
        options_(std::move(options)) {}

  // Returns false if it was ended before its time: then `live` is not complete. Extents are taken
  // from one state of the index, which is later than the call. Throws Refused(EIO, ENOSPC).
  bool Run();
  const Counts& counts() const { return counts_; }

 private:
  struct Version {
    std::string_view key, value;
    Instant at;
    Instant next;  // of the version after it; kInstantMax for the newest
    TimelineId timeline = 0;
    Ino ino = 0;
  };
  // The chunk version that was found to be needed last, until what lies below it is known.
  struct Needed {
    std::string key;
    ChunkVersion version;
    Instant first;  // the first kept instant that sees it
    bool newest = false;
    bool clipped = false;  // a part of it is cut off
  };

  bool Walk(KeyType type);
  void Finish(KeyType type);  // what is known of one key once the last of its versions was seen
  void SeeChunk(const Timeline* timeline, const Version& version);
  void FinishChunk();
  void SeeOther(KeyType type, const Timeline* timeline, const Version& version);
  void MakeFull();
  void MarkNeeded();
  // Moves past what lies within the range of the cursor's key; true if there was anything.
  bool SkipRange(Index::Cursor* cursor);
  bool AtVersionAfter(Index::Cursor* cursor, Instant at) const;
  // Splits a versioned key; `next` is taken from the version before it in the walk.
  Version Split(std::string_view key, std::string_view value);
  const Timeline* Find(TimelineId id) const;
  // The newest version of the inode in the timeline itself, as of `at`; nothing if it has ended or
  // never was there.
  const std::optional<Inode>& InodeAt(TimelineId timeline, Ino ino, Instant at);
  bool MayBeInherited(const Timeline& timeline, Ino ino) const {
    return timeline.has_parent && ino < timeline.first_ino;
  }
  Ino LastIno(TimelineId timeline);
  void Drop(std::string_view key, size_t value_bytes);
  void Put(std::string key, std::optional<std::string> value);
  void Flush();
  bool GoOn();

  Index* index_;
  std::map<TimelineId, Timeline> timelines_;
  LiveMap* live_;
  Options options_;
  Counts counts_;
  Index::Entries batch_;

  std::unique_ptr<Index::Cursor> below_;  // for looks at what lies below the version at hand
  std::string prefix_;                    // of the key that the walk is at, without the instant
  Instant newer_;                         // the version before, of the same key
  int skipped_ = 0;                       // versions of this key, one by one
  std::optional<Needed> needed_;
  // That a key ended need not be known once nothing is left of what it was before.
  std::optional<std::string> ending_;

  TimelineId asked_timeline_ = 0;
  Ino asked_ino_ = 0;
  std::map<Instant, std::optional<Inode>> answers_;
  std::map<TimelineId, Ino> last_inos_;
};

}  // namespace rw
