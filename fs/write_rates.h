// How fast timelines are written, averaged over the last minutes.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <mutex>

#include "metadata/catalog.h"

namespace rw {

// An exponentially weighted mean. Thread safety: all methods may be called from any thread.
class WriteRates {
 public:
  // `bytes`: written by the timeline since it was opened. To be called about every second for all
  // that are open.
  void Sample(TimelineId timeline, uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    const auto [found, first] = rates_.try_emplace(timeline, Rate{bytes, now, 0});
    Rate& rate = found->second;
    const double seconds = std::chrono::duration<double>(now - rate.at).count();
    if (first || seconds <= 0) return;
    const uint64_t written = bytes >= rate.bytes ? bytes - rate.bytes : bytes;  // opened again
    const double weight = 1 - std::exp(-seconds / kMeanSeconds);
    rate.per_second += weight * (static_cast<double>(written) / seconds - rate.per_second);
    rate.bytes = bytes;
    rate.at = now;
  }

  uint64_t BytesPerSecond(TimelineId timeline) const {
    const std::lock_guard lock(mutex_);
    const auto found = rates_.find(timeline);
    if (found == rates_.end()) return 0;
    const double silent = std::chrono::duration<double>(Clock::now() - found->second.at).count();
    return static_cast<uint64_t>(found->second.per_second *
                                 (silent < 5 ? 1 : std::exp(-silent / kMeanSeconds)));
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr double kMeanSeconds = 120;
  struct Rate {
    uint64_t bytes = 0;
    Clock::time_point at;
    double per_second = 0;
  };

  mutable std::mutex mutex_;  // guards rates_
  std::map<TimelineId, Rate> rates_;
};

}  // namespace rw
