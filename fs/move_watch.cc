#include "fs/move_watch.h"

#include <algorithm>

namespace rw {

void MoveWatch::Begin(std::set<SegmentKey> segments) {
  const std::lock_guard lock(mutex_);
  segments_ = std::move(segments);
  seen_.clear();
  active_.store(!segments_.empty(), std::memory_order_release);
}

std::vector<MoveWatch::ChunkKey> MoveWatch::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(seen_, {});
}

void MoveWatch::Note(TimelineId timeline, Instant at, const std::vector<ChunkMutation>& chunks) {
  const std::lock_guard lock(mutex_);
  for (const ChunkMutation& m : chunks) {
    const auto& extents = m.version.extents;
    const bool refers = std::any_of(extents.begin(), extents.end(), [this](const Extent& extent) {
      return segments_.contains({extent.timeline, extent.segment});
    });
    if (refers) seen_.push_back({timeline, m.ino, m.chunk, at});
  }
}

}  // namespace rw
