// The index: "what is the newest version of this key at or before T", in RocksDB.
//
// The journals are its log: RocksDB's own is off. A commit is in memory until a flush; each carries
// the position up to which it covers the journal, in the same atomic batch, so that after a crash
// the journal is replayed from there. A flush never gets ahead of the journals: `before_flush`
// makes them durable first.
//
// Thread safety: all methods may be called from any thread; commits to one timeline must come in
// instant order. Errors: Refused(EIO), or Refused(ENOSPC) when the disk is full.
#pragma once

#include <errno.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/index_tuning.h"
#include "metadata/keys.h"
#include "metadata/lost_ranges.h"
#include "metadata/mutation.h"
#include "metadata/refused.h"

namespace rw {

// A byte position in a timeline's journal.
struct JournalPosition {
  uint32_t segment = 0;
  uint32_t offset = 0;
  friend auto operator<=>(const JournalPosition&, const JournalPosition&) = default;
};

// What a timeline's head holds after an operation.
struct Totals {
  uint64_t bytes = 0;  // of contents, as Inode::allocated counts
  uint64_t inodes = 0;
  friend bool operator==(const Totals&, const Totals&) = default;
};

// The index holds everything in the journal before `position`.
struct Covered {
  JournalPosition position;
  Instant instant;         // of the newest record covered
  Totals totals;           // after it
  Instant last_operation;  // of the newest that is one: moved data are none
};

// What a timeline held at an instant, and where a scan for a later one can start.
struct Sample {
  JournalPosition position;  // of the record of `at`; segment 0: its segment may be gone
  Totals totals;             // after it
  Instant at;
};

// Something in the index does not check out: EIO, and a line that names file and position.
class IndexDamaged : public Refused {
 public:
  explicit IndexDamaged(const std::string& what) : Refused(EIO, what) {}
};

class Index {
 public:
  struct Options {
    std::filesystem::path path;
    uint64_t name_seed = 0;              // for NameCookie
    std::function<void()> before_flush;  // called from RocksDB's threads; must not throw
    // Called once, from any thread, when something is met that does not check out. Whoever reads it
    // gets IndexDamaged; everything else goes on, but the index is not compacted any more.
    std::function<void(const std::string& what)> on_damage{};
    IndexTuning tuning{};
    std::function<void(const std::string&)>
        repaired{};  // told what had to be, in a line for the log
  };
  struct Version {
    Instant at;
    std::string value;
  };

  // Walks keys in order, within one prefix. Sees the index as it was when it was made. Not
  // thread-safe.
  class Cursor {
   public:
    virtual ~Cursor() = default;
    virtual void Seek(std::string_view key) = 0;  // to the first key >= `key`
    virtual void Next() = 0;
    virtual bool Valid() = 0;                  // throws Refused(EIO) if the index is damaged here
    virtual std::string_view key() const = 0;  // valid until the cursor moves
    virtual std::string_view value() const = 0;
  };

  static std::unique_ptr<Index> Open(const Options& options);
  virtual ~Index() = default;  // flushes

  uint64_t name_seed() const { return name_seed_; }

  // Commits the (resolved) mutations of one record. `journal_bytes` is the record's size; `sample`
  // asks for a sample.
  virtual void Commit(TimelineId timeline, Instant at, const Mutations& mutations,
                      const Covered& covered, uint32_t journal_bytes,
                      const std::optional<Sample>& sample) = 0;

  virtual std::optional<std::string> Get(std::string_view key) = 0;
  // The newest version at or before `at` of the key with this prefix; an empty value means that it
  // ended.
  virtual std::optional<Version> FindVersion(std::string prefix, Instant at) = 0;
  // kScan: reads much once, and leaves the caches to others.
  enum class Purpose { kLookup, kScan };
  virtual std::unique_ptr<Cursor> NewCursor(std::string prefix,
                                            Purpose purpose = Purpose::kLookup) = 0;

  // The greatest inode number of which the timeline has a version; 0 if none.
  virtual Ino LastIno(TimelineId timeline) = 0;
  std::optional<Covered> FindCovered(TimelineId timeline);
  // The last segment of the timeline's moved data to which all references are known; 0: none.
  uint32_t FindSettled(TimelineId timeline);
  void SetSettled(TimelineId timeline, uint32_t segment);
  // Segments that are not free although no kept instant before a range sees them: versions up to
  // `until` may name them. kInstantMax: until an instant that is not known yet.
  struct Held {
    TimelineId timeline = 0;
    uint32_t segment = 0;
    Instant until;
  };
  std::vector<Held> ListHeld();
  // What restores did in the timeline in (after, until], the newest first, at most `limit`.
  std::vector<std::pair<Instant, RestoreNote>> ListRestores(TimelineId timeline, Instant after,
                                                            Instant until, size_t limit);
  std::optional<Sample> FindSample(TimelineId timeline, Instant at);  // the newest at or before it

  // Puts and ends entries of which no journal needs to know, all at once: what follows from others,
  // and versions that say in another way what they said before.
  using Entries = std::vector<std::pair<std::string, std::optional<std::string>>>;
  virtual void Rewrite(const Entries& entries) = 0;
  // Deletes everything of a timeline but its catalog entry. What has begun and not ended has to be
  // done again.
  virtual void DropTimeline(TimelineId timeline) = 0;
  // Makes all commits so far durable.
  virtual void Flush() = 0;

  // Grows with every change. An index that shows less than it did has lost something.
  virtual uint64_t LastSequence() = 0;
  // What could not be read of an earlier index: reads in there are EIO. Durable after a flush.
  virtual void MarkLost(const std::string& from, const std::string& to) = 0;
  virtual const LostRanges& lost() const = 0;

 protected:
  uint64_t name_seed_ = 0;
};

std::string EncodeHeldUntil(Instant until);
std::string EncodeSample(const Sample& sample);
Sample DecodeSample(std::string_view value, Instant at);

// Values of names, for those who read them through a cursor.
struct NameValue {
  Ino ino = 0;  // 0: ended
  uint32_t type = 0;
};
std::string EncodeNameValue(const NameValue& value);
NameValue DecodeNameValue(std::string_view value);

}  // namespace rw
