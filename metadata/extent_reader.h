// The extents of an encoded version of a chunk, one by one and without a vector: for who looks at
// very many versions.
#pragma once

#include <cstdint>
#include <string_view>

#include "metadata/chunk.h"
#include "metadata/coding.h"

namespace rw {

// `value` must outlive it. Throws Refused(EIO), as ChunkVersion::Decode does.
class ExtentReader {
 public:
  ExtentReader(std::string_view value, TimelineId own)
      : in_(value), own_(own), head_(in_.Number<uint32_t>()) {}
  bool full() const { return (head_ & 1) != 0; }
  uint32_t depth() const { return head_ >> 1; }
  bool Next(Extent* extent);  // false: there are no more

 private:
  Decoder in_;
  const TimelineId own_;
  const uint32_t head_;
  uint32_t end_ = 0;  // of the last
};

}  // namespace rw
