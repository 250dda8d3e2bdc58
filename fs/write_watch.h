// Whether the disk takes what is written to a timeline: told in the log when it stops, and when it
// does again.
#pragma once

#include <errno.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <mutex>
#include <string>

#include "metadata/refused.h"

namespace rw {

// Thread safety: all methods may be called from any thread.
class WriteWatch {
 public:
  explicit WriteWatch(uint32_t timeline) : timeline_(timeline) {}

  // A write was refused. A full disk is looked at elsewhere, and what is too large for a record is
  // nobody's fault.
  void Failed(const Refused& refused) {
    if (refused.error() == ENOSPC || refused.error() == EFBIG) return;
    const std::lock_guard lock(mutex_);
    why_ = refused.what();
    if (!failing_.exchange(true)) spdlog::error("timeline {} takes no writes: {}", timeline_, why_);
  }
  void Worked() {
    if (!failing_.load(std::memory_order_relaxed)) return;
    const std::lock_guard lock(mutex_);
    if (failing_.exchange(false)) spdlog::warn("timeline {} takes writes again", timeline_);
  }
  // Why the newest write failed; empty if it did not.
  std::string why() const {
    const std::lock_guard lock(mutex_);
    return failing_ ? why_ : "";
  }

 private:
  const uint32_t timeline_;
  mutable std::mutex mutex_;
  std::atomic<bool> failing_{false};
  std::string why_;
};

}  // namespace rw
