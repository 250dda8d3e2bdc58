// Which parts of segments somebody refers to, in steps of 4 KiB of the files.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

#include "metadata/chunk.h"

namespace rw {

// Not thread-safe.
class LiveMap {
 public:
  static constexpr uint32_t kStepBytes = 4096;

  // From now on, marks in the segment's first `bytes` bytes count; in others they do not.
  void Watch(TimelineId timeline, uint32_t segment, uint64_t bytes);
  void Mark(const Extent& extent);
  // Of a watched segment, rounded up to steps: 0 if and only if nothing in it was marked.
  uint64_t LiveBytes(TimelineId timeline, uint32_t segment) const;
  // What is marked of a watched segment, in order: where, and how many bytes. Parts that lie nearer
  // to each other than `gap` bytes count as one.
  void ForEachLive(TimelineId timeline, uint32_t segment, uint64_t gap,
                   const std::function<void(uint64_t offset, uint64_t bytes)>& fn) const;

 private:
  struct Steps {
    std::vector<bool> marked;
    uint64_t count = 0;
  };
  static uint64_t Key(TimelineId timeline, uint32_t segment) {
    return uint64_t{timeline} << 32 | segment;
  }

  std::unordered_map<uint64_t, Steps> segments_;
};

}  // namespace rw
