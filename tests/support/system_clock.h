// The machine's wall clock, for StoreOptions.
#pragma once

#include <chrono>
#include <cstdint>

namespace rw::testing {

inline uint64_t SystemNanoseconds() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace rw::testing
