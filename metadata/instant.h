// An instant: a point of time at which one operation, and no other, changed a volume.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

// (`rewind` is a function of <stdio.h>, so the namespace is `rw`.)
namespace rw {

// Nanoseconds since the Unix epoch, UTC. Plain value; 0 means "before everything".
struct Instant {
  uint64_t ns = 0;
  friend constexpr auto operator<=>(const Instant&, const Instant&) = default;
};

inline constexpr Instant kInstantMax{std::numeric_limits<uint64_t>::max()};

inline constexpr Instant Before(Instant t) { return Instant{t.ns - 1}; }

}  // namespace rw
