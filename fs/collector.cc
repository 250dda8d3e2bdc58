#include "fs/collector.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace rw {
namespace {

constexpr std::chrono::milliseconds kLookEvery{1000};
// Of walking, between sleeps: short, so that nobody notices.
constexpr std::chrono::microseconds kSlice{2000};
constexpr unsigned kHasteWhenBehind = 4;

}  // namespace

Collector::Collector(const CollectorOptions& options, std::function<bool()> is_due,
                     std::function<void()> run)
    : options_(options), is_due_(std::move(is_due)), run_(std::move(run)) {}

void Collector::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Collector::Start() {
  if (options_.background) thread_ = std::thread([this] { Loop(); });
}

void Collector::Loop() {
  {
    const auto until = Clock::now() + std::chrono::seconds(options_.delay_seconds);
    std::unique_lock lock(mutex_);
    while (!stopping_ && Clock::now() < until) wake_.wait_until(lock, until);
  }
  while (!stopping_) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kLookEvery);
    }
    if (stopping_ || pausers_ > 0 || impatient_ > 0) continue;
    try {
      if (!is_due_()) continue;
      const std::lock_guard running(running_);
      hurried_ = false;
      background_ = true;
      slice_began_ = copying_since_ = Clock::now();
      copied_ = 0;
      run_();
    } catch (const std::exception& error) {
      spdlog::error("collecting history that is no longer kept: {}", error.what());
    }
  }
}

Collector::Pause::Pause(Collector& collector) : collector_(collector) {
  ++collector_.pausers_;
  collector_.running_.lock();
}

Collector::Pause::~Pause() {
  collector_.running_.unlock();
  --collector_.pausers_;
}

void Collector::RunNow(const std::function<void()>& run) {
  ++impatient_;
  const std::lock_guard running(running_);
  --impatient_;
  hurried_ = true;
  background_ = false;
  run();
  hurried_ = false;
}

bool Collector::GoOn(bool behind) {
  if (MustEnd()) return false;
  if (hurried_) return true;
  const auto worked = Clock::now() - slice_began_;
  if (worked < kSlice) return true;
  haste_ = behind ? kHasteWhenBehind : 1;
  const unsigned percent = std::clamp(options_.cpu_percent * haste_, 1u, 100u);
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, worked * (100 - percent) / percent);
  slice_began_ = Clock::now();
  return !MustEnd();
}

void Collector::Copied(uint64_t bytes) {
  copied_ += bytes;
  if (hurried_ || options_.copy_bytes_per_second == 0) return;
  const std::chrono::duration<double> due(
      static_cast<double>(copied_) / static_cast<double>(options_.copy_bytes_per_second * haste_));
  const auto ahead = due - (Clock::now() - copying_since_);
  if (ahead <= std::chrono::milliseconds(1)) return;
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, ahead);
}

}  // namespace rw
