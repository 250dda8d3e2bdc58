#include "fs/allocator.h"

#include <malloc.h>

#include <algorithm>
#include <thread>

namespace rw {

void LimitArenas() {
  constexpr unsigned kLeast = 2;
  mallopt(M_ARENA_MAX, static_cast<int>(std::max(std::thread::hardware_concurrency(), kLeast)));
}

}  // namespace rw
