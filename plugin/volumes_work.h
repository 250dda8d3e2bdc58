// For the parts of Volumes only.
#pragma once

#include <mutex>
#include <string>

#include "plugin/volumes.h"

namespace rw {

// The right to change one volume's mounts, for the time of one operation.
class Volumes::Work {
 public:
  Work(Volumes& volumes, const std::string& name) : Work(volumes, name, std::defer_lock) {
    working_.lock();
  }
  // Does not wait; `ours` says whether it has got the right.
  Work(Volumes& volumes, const std::string& name, std::try_to_lock_t)
      : Work(volumes, name, std::defer_lock) {
    working_.try_lock();
  }
  ~Work() {
    if (ours()) working_.unlock();
    std::lock_guard lock(volumes_.mutex_);
    // The map's and this one: nobody waits for the entry, and nobody can come to it without mutex_.
    if (entry_->mounted.empty() && entry_.use_count() == 2) volumes_.entries_.erase(name_);
  }
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  Entry& entry() const { return *entry_; }
  bool ours() const { return working_.owns_lock(); }

 private:
  Work(Volumes& volumes, const std::string& name, std::defer_lock_t)
      : volumes_(volumes), name_(name) {
    std::lock_guard lock(volumes_.mutex_);
    std::shared_ptr<Entry>& entry = volumes_.entries_[name];
    if (entry == nullptr) entry = std::make_shared<Entry>();
    entry_ = entry;
    working_ = std::unique_lock(entry_->working, std::defer_lock);
  }

  Volumes& volumes_;
  const std::string name_;
  std::shared_ptr<Entry> entry_;
  std::unique_lock<std::mutex> working_;
};

}  // namespace rw
