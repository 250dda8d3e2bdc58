// The source of instants: the wall clock, made strictly increasing.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>

#include "metadata/instant.h"

namespace rw {

// One clock serves all volumes of a store, so that instants order operations across volumes.
// When the wall clock steps back, instants go on one nanosecond apart until it has caught up.
// Thread safety: all methods may be called from any thread.
class InstantClock {
 public:
  // `wall` returns nanoseconds since the Unix epoch.
  explicit InstantClock(std::function<uint64_t()> wall) : wall_(std::move(wall)) {}

  // An instant greater than every one returned or observed before.
  Instant Next() {
    uint64_t last = last_.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t next = std::max(wall_(), last + 1);
      if (last_.compare_exchange_weak(last, next, std::memory_order_acq_rel)) return Instant{next};
    }
  }

  // No instant at or before `t` will be returned any more.
  void Observe(Instant t) {
    uint64_t last = last_.load(std::memory_order_relaxed);
    while (last < t.ns && !last_.compare_exchange_weak(last, t.ns, std::memory_order_acq_rel)) {
    }
  }

  // The newest instant returned or observed.
  Instant last() const { return Instant{last_.load(std::memory_order_acquire)}; }

 private:
  std::function<uint64_t()> wall_;
  std::atomic<uint64_t> last_{0};
};

}  // namespace rw
