// When the store collects, how fast, and who may stop it: the thread and the pace; what a run does
// is the store's affair (fs/store_collect.cc).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "fs/store.h"

namespace rw {

// Thread safety: all methods may be called from any thread, GoOn and Copied from within a run only.
class Collector {
 public:
  // `is_due` is asked about every second, `run` does one run; neither is called before Start.
  Collector(const CollectorOptions& options, std::function<bool()> is_due,
            std::function<void()> run);
  ~Collector() { Stop(); }
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  void Start();  // the thread, unless the options forbid it
  void Stop();   // ends it, and a run that is under way
  void Wake() { wake_.notify_all(); }

  // Ends a run that is under way, and keeps others from beginning for as long as it lives.
  class Pause {
   public:
    explicit Pause(Collector& collector);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    Collector& collector_;
  };

  // Runs `run` on this thread, at full speed, when nobody else's is under way.
  void RunNow(const std::function<void()>& run);

  // Sleeps as the pace asks for. False: the run has to end now.
  // `behind`: more has come than is going.
  bool GoOn(bool behind = false);
  void Copied(uint64_t bytes);
  void Hurry(bool hurry) { hurried_ = hurry; }  // for the run under way: no sleeping

 private:
  using Clock = std::chrono::steady_clock;

  void Loop();

  const CollectorOptions options_;
  const std::function<bool()> is_due_;
  const std::function<void()> run_;

  std::mutex running_;                // held by whoever runs or pauses
  std::atomic<int> interrupters_{0};  // who want `running_` at once
  std::atomic<bool> hurried_{false};
  Clock::time_point slice_began_;  // the run's
  uint64_t copied_ = 0;
  Clock::time_point copying_since_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace rw
