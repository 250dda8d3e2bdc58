// Runs the schedules of marks while the daemon does.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

namespace rw {

class Store;

class Scheduler {
 public:
  explicit Scheduler(Store& store) : store_(store), thread_([this] { Run(); }) {}
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

 private:
  void Run();

  Store& store_;
  std::mutex mutex_;  // guards stopped_
  std::condition_variable changed_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace rw
