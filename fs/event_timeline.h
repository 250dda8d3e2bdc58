// Events as activity over time, and the instants that somebody may want back.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "fs/events.h"

namespace rw {

struct ActivityBucket {
  Instant from;  // its first instant
  uint64_t operations = 0;
  uint64_t bytes = 0;  // that were written
  uint64_t creates = 0, removals = 0;
  uint64_t syncs = 0;
  std::vector<std::string> notes;  // mounts, unmounts, marks, rollbacks: the first few
  uint64_t more_notes = 0;
};

struct RestorePoint {
  Instant at;
  std::string why;
};

// Not thread-safe; bounded by the number of buckets.
class EventTimeline {
 public:
  // [from, until] of what is asked for, in so many parts; `from` may be later than asked, as
  // EventsBegin says.
  EventTimeline(Instant from, Instant until, size_t buckets)
      : from_(from), until_(until), wanted_(buckets) {}

  void Begin(const EventsBegin& begin);
  void Add(const Event& event);
  void End();

  const std::vector<ActivityBucket>& buckets() const { return buckets_; }
  // Oldest first.
  const std::vector<RestorePoint>& restore_points() const { return restore_points_; }
  Instant from() const { return from_; }
  Instant until() const { return until_; }

 private:
  struct Removal {
    Instant at;
    std::optional<Instant> synced;  // the newest sync before it
    Instant before;                 // the operation before it
  };

  ActivityBucket& BucketOf(Instant at);
  void Note(Instant at, std::string text);
  void SeeRemoval(const Event& event);

  Instant from_, until_;
  const size_t wanted_;
  uint64_t width_ns_ = 1;
  std::vector<ActivityBucket> buckets_;
  std::vector<RestorePoint> restore_points_;

  Instant last_;  // operation
  std::optional<Instant> synced_;
  // The newest of their kind.
  std::optional<RestorePoint> quiet_, burst_, mount_, unmount_, mark_, rollback_;
  std::deque<Removal> removals_;  // the last ones, close to each other
  bool in_burst_ = false;
};

}  // namespace rw
