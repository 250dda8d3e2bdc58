// How far something that may take long has come, told now and then to who waits for it.
#pragma once

#include <cstdint>
#include <functional>

namespace rw {

// `step`: what is being done, in words; `total`: 0 if nobody knows. May be empty.
using ProgressSink = std::function<void(const char* step, uint64_t done, uint64_t total)>;

}  // namespace rw
