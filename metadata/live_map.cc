#include "metadata/live_map.h"

#include <algorithm>

namespace rw {

void LiveMap::Watch(TimelineId timeline, uint32_t segment, uint64_t bytes) {
  // An extent that lies beyond the end of a damaged file still counts.
  segments_[Key(timeline, segment)].marked.resize(bytes / kStepBytes + 1);
}

void LiveMap::Mark(const Extent& extent) {
  if (extent.hole()) return;
  const auto found = segments_.find(Key(extent.timeline, extent.segment));
  if (found == segments_.end()) return;
  Steps& steps = found->second;
  const uint64_t stored = uint64_t{extent.skip} + extent.length + extent.tail;
  const uint64_t frames = (stored + kFrameDataBytes - 1) / kFrameDataBytes;
  const uint64_t end = extent.frame_position + stored + frames * (kFrameBytes - kFrameDataBytes);
  const size_t last = steps.marked.size() - 1;
  for (size_t step = std::min<size_t>(extent.frame_position / kStepBytes, last);
       step <= std::min<size_t>((end - 1) / kStepBytes, last); ++step) {
    if (steps.marked[step]) continue;
    steps.marked[step] = true;
    ++steps.count;
  }
}

uint64_t LiveMap::LiveBytes(TimelineId timeline, uint32_t segment) const {
  const auto found = segments_.find(Key(timeline, segment));
  return found == segments_.end() ? 0 : found->second.count * kStepBytes;
}

}  // namespace rw
