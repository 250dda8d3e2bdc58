#include "fs/page_dropper.h"

#include <system_error>

namespace rw {

void PageDropper::Drop(uint64_t node) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  nodes_.insert(node);
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error&) {  // the next node tries again
    }
  }
  changed_.notify_one();
}

void PageDropper::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void PageDropper::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopped_ || !nodes_.empty(); });
    if (stopped_) return;
    const uint64_t node = nodes_.extract(nodes_.begin()).value();
    lock.unlock();
    drop_(node);
    lock.lock();
  }
}

}  // namespace rw
