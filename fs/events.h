// What happened to a volume: its operations by wall clock, read from the journals while these are
// written. See fs/README.md, "Events".
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/record.h"
#include "fs/record_window.h"
#include "fs/segment.h"

namespace rw {

// One operation, as its record says it. The extents of `body.mutations.chunks` are not resolved
// (Mutations::Resolve): they say which bytes of a file changed, not where these lie.
struct Event {
  Instant at;
  TimelineId timeline = 0;  // in whose journal it is
  RecordType type = RecordType::kSetAttr;
  uint64_t unique = 0;      // of the FUSE request; 0: no request asked for it
  uint32_t data_bytes = 0;  // that it carries
  // There was a sync between the operation before and this one, of whatever made it: everything up
  // to this instant survives the machine since then. Absent: none that had anything to do.
  std::optional<Instant> synced;
  RecordBody body;
};

// How far an answer goes. Every operation that was acknowledged and whose instant lies in
// [begins, until] was called back for, unless it lies in a hole.
struct EventsRead {
  // An operation whose record is damaged: somewhere between these, both exclusive.
  struct Hole {
    Instant after, before;
  };
  Instant begins;  // later than what was asked for if that is not kept, or went while it was read
  Instant until;   // earlier than what was asked for if that is in the future
  std::vector<Hole> holes;
  bool ended = false;  // by the callback
};

// What is told before the first event.
struct EventsBegin {
  struct Rollback {
    Instant at;
    std::optional<Instant> to;  // absent: not known any more
  };
  EventsRead read;  // as far as it is known now
  Instant created;  // the volume was
  std::optional<Instant> removed;
  // Those that were made in [begins, until], the oldest first.
  std::vector<Mark> marks;
  std::vector<Rollback> rollbacks;
};

struct EventQuery {
  Instant from;                 // the first instant that is asked for
  Instant until = kInstantMax;  // and the last
  // Only the operations of this timeline, also of when the volume was not bound to it.
  std::optional<TimelineId> timeline;
  std::function<void(const EventsBegin&)> begin{};
  // Gets whom the operations before `from` in the same segment say to be writers: later ones do not
  // say it again.
  std::function<void(const std::shared_ptr<const Writer>&)> writer{};
};

// False: no more, please.
using EventCallback = std::function<bool(const Event&)>;

// The events of one timeline's journal, in the order of their instants. Takes no lock but those of
// the index and of SegmentReader, for moments, and reads headers of records, not data. Not
// thread-safe. Errors: Refused for calls that fail; damage is a hole, not an error.
class JournalEvents {
 public:
  // `end`: what lies before it in the journal is committed. `read` gets holes, and `begins` where
  // segments have gone.
  JournalEvents(FileLayer* files, SegmentReader* segments, Index* index, TimelineId timeline,
                JournalPosition end, EventsRead* read)
      : files_(files),
        segments_(segments),
        index_(index),
        timeline_(timeline),
        end_(end),
        read_(read) {}

  // Calls back for each operation in [from, until]. False if the callback has ended it.
  // `writer` may be empty, as EventQuery::writer.
  bool Read(Instant from, Instant until, const EventCallback& callback,
            const std::function<void(const std::shared_ptr<const Writer>&)>& writer = {});

 private:
  enum class Outcome { kGoOn, kReached, kEnded };
  enum class Missing { kNothing, kGone, kDamaged };

  JournalPosition FindStart(const std::vector<SegmentInfo>& segments);
  Outcome ReadSegment(uint32_t number, uint32_t offset);
  void SeeEarlier(const RecordHeader& header, uint64_t offset);
  Outcome Deliver(const RecordHeader& header, std::string_view body);
  std::optional<Instant> TakeSynced(JournalPosition durable);
  uint64_t NextRecord(uint64_t offset, uint64_t end);
  bool IsThere(uint32_t number);
  void Miss(uint32_t number);
  void CloseHole(Instant before);

  FileLayer* const files_;
  SegmentReader* const segments_;
  Index* const index_;
  const TimelineId timeline_;
  const JournalPosition end_;
  EventsRead* const read_;

  Instant from_, until_;
  const EventCallback* callback_ = nullptr;
  const std::function<void(const std::shared_ptr<const Writer>&)>* writer_ = nullptr;
  Instant last_;  // of the newest record that was met
  Missing missing_ = Missing::kNothing;
  Instant missing_after_;

  // Where records end of which it is not known yet that they were durable, and their instants.
  std::deque<std::pair<JournalPosition, Instant>> unsynced_;

  std::unique_ptr<File> file_;
  uint64_t generation_ = 0;
  // Headers and bodies of most records are smaller by far; their data need not be read.
  RecordWindow window_{4096};
};

}  // namespace rw
