#include "plugin/scheduler.h"

#include <spdlog/spdlog.h>

#include <chrono>

#include "fs/store.h"

namespace rw {
namespace {

// What there is to do is found out again each time, so nothing has to be said when a schedule
// changes, the clock jumps or the machine wakes.
constexpr std::chrono::seconds kEvery{1};

}  // namespace

Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Scheduler::Run() {
  std::string last_error;
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    lock.unlock();
    std::string error;
    try {
      store_.RunSchedules();
    } catch (const std::exception& failed) {
      error = failed.what();
    }
    if (!error.empty() && error != last_error) spdlog::error("schedules: {}", error);
    last_error = error;
    lock.lock();
    changed_.wait_for(lock, kEvery, [this] { return stopped_; });
  }
}

}  // namespace rw
