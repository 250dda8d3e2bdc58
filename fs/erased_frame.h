// A frame whose data were erased on request (`rewind forget`): zeros, under a checksum that no data
// have. So it says by itself, wherever it is looked at, that what was here is gone and not damaged,
// and is never taken for zeros that somebody wrote.
#pragma once

#include <cstdint>
#include <string_view>

namespace rw {

// Of a frame of `length` bytes at `position` of a segment of that generation.
uint32_t ErasedFrameChecksum(uint32_t length, uint64_t generation, uint32_t position);
// Whether the frame (`checksum`, `data`) is one.
bool IsErasedFrame(uint32_t checksum, std::string_view data, uint64_t generation,
                   uint32_t position);

}  // namespace rw
