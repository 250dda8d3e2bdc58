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
  bool stopping() const { return stopping_; }

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

  // Runs `run` on this thread, at full speed, when nobody else's is under way; ends one of the
  // background's.
  void RunNow(const std::function<void()>& run);

  // Sleeps as the pace asks for. False: the run has to end now.
  // `behind`: more has come than is going; then a run takes four times as much of the processor and
  // of the disk.
  bool GoOn(bool behind = false);
  void Copied(uint64_t bytes);
  void Hurry(bool hurry) { hurried_ = hurry; }  // for the run under way: no sleeping

 private:
  using Clock = std::chrono::steady_clock;

  void Loop();
  bool MustEnd() const { return stopping_ || pausers_ > 0 || (background_ && impatient_ > 0); }

  const CollectorOptions options_;
  const std::function<bool()> is_due_;
  const std::function<void()> run_;

  std::mutex running_;                   // held by whoever runs or pauses
  std::atomic<int> pausers_{0};          // who want `running_` at once
  std::atomic<int> impatient_{0};        // who want it instead of the background's run
  std::atomic<bool> background_{false};  // the run under way is the background's
  std::atomic<bool> hurried_{false};
  Clock::time_point slice_began_;  // the run's
  unsigned haste_ = 1;
  uint64_t copied_ = 0;
  Clock::time_point copying_since_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace rw
