// Finds the one bit that was flipped in bytes that do not match their checksum.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "metadata/coding.h"

namespace rw {

// `stored` is the checksum, `bytes` what it is of. Returns the number of the bit in the checksum's
// four bytes followed by the others; nothing if no bit would do, or several. What was damaged in
// another way is taken for a flipped bit with a probability of (bits / 2^32).
template <typename Checksum>
std::optional<uint64_t> FindFlippedBit(uint32_t stored, std::string_view bytes, Checksum checksum) {
  std::optional<uint64_t> found;
  const uint32_t difference = stored ^ checksum(bytes);
  if (std::has_single_bit(difference)) found = static_cast<uint64_t>(std::countr_zero(difference));
  std::string tried(bytes);
  for (uint64_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto mask = static_cast<char>(1 << bit % 8);
    tried[bit / 8] = static_cast<char>(tried[bit / 8] ^ mask);
    if (checksum(tried) == stored) {
      if (found) return std::nullopt;
      found = 32 + bit;
    }
    tried[bit / 8] = static_cast<char>(tried[bit / 8] ^ mask);
  }
  return found;
}

}  // namespace rw
