// A predecessor that was killed a moment ago may still hold what its successor needs.
#pragma once

#include <chrono>
#include <thread>

#include "metadata/refused.h"

namespace rw {

inline constexpr std::chrono::milliseconds kPredecessorPatience{3000};

// Tries again while `fn` throws Refused(`busy`), for so long; then throws what it threw.
template <typename Fn>
auto WithPatience(int busy, std::chrono::milliseconds patience, Fn fn) {
  constexpr std::chrono::milliseconds kPause{20};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    try {
      return fn();
    } catch (const Refused& refused) {
      if (refused.error() != busy || std::chrono::steady_clock::now() > deadline) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace rw
