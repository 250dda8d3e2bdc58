// While segments are being emptied: which new versions of chunks refer to them all the same,
// because they were made from what a head knew before the data were moved.
#pragma once

#include <atomic>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "metadata/chunk.h"
#include "metadata/instant.h"
#include "metadata/keys.h"
#include "metadata/mutation.h"

namespace rw {

// Thread safety: all methods may be called from any thread.
class MoveWatch {
 public:
  using SegmentKey = std::pair<TimelineId, uint32_t>;
  using ChunkKey = ChunkVersionKey;

  void Begin(std::set<SegmentKey> segments);
  void End() { Begin({}); }
  // What was committed to `timeline` at `at`, resolved; under the timeline's mutex.
  void Saw(TimelineId timeline, Instant at, const std::vector<ChunkMutation>& chunks) {
    if (active_.load(std::memory_order_acquire)) Note(timeline, at, chunks);
  }
  std::vector<ChunkKey> Take();

 private:
  void Note(TimelineId timeline, Instant at, const std::vector<ChunkMutation>& chunks);

  std::atomic<bool> active_{false};
  std::mutex mutex_;  // guards what follows
  std::set<SegmentKey> segments_;
  std::vector<ChunkKey> seen_;
};

}  // namespace rw
