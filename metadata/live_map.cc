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

void LiveMap::ForEachLive(TimelineId timeline, uint32_t segment, uint64_t gap,
                          const std::function<void(uint64_t offset, uint64_t bytes)>& fn) const {
  const auto found = segments_.find(Key(timeline, segment));
  if (found == segments_.end()) return;
  const std::vector<bool>& marked = found->second.marked;
  const uint64_t between = std::max<uint64_t>(1, gap / kStepBytes);
  for (size_t begin = 0; begin < marked.size(); ++begin) {
    if (!marked[begin]) continue;
    size_t end = begin + 1;  // after the last that is marked
    for (size_t step = end; step < marked.size() && step - end < between; ++step) {
      if (marked[step]) end = step + 1;
    }
    fn(begin * kStepBytes, (end - begin) * kStepBytes);
    begin = end;
  }
}

}  // namespace rw
