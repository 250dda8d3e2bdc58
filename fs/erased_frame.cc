#include "fs/erased_frame.h"

#include <string>

#include "fs/record.h"

namespace rw {
namespace {

const std::string& Zeros() {
  static const auto* const zeros = new std::string(kFrameDataBytes, '\0');
  return *zeros;
}

}  // namespace

uint32_t ErasedFrameChecksum(uint32_t length, uint64_t generation, uint32_t position) {
  return ~FrameChecksum(std::string_view(Zeros()).substr(0, length), generation, position);
}

bool IsErasedFrame(uint32_t checksum, std::string_view data, uint64_t generation,
                   uint32_t position) {
  return data == std::string_view(Zeros()).substr(0, data.size()) &&
         checksum == ErasedFrameChecksum(static_cast<uint32_t>(data.size()), generation, position);
}

}  // namespace rw
