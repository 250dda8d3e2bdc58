// The threads of a session: as many as it takes for one to be free, and no more of them with memory
// at hand than there is use for.
//
// A thread serves or rests. One that serves waits for a request with its buffer's memory there, or
// works on one. One that rests needs no memory: it is off until it is called or, if all others are
// off, watches the device. So a request to a session at rest wakes one thread, and a session that
// is used pays nothing for the rest that it may come to.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <limits>
#include <list>
#include <mutex>
#include <thread>

namespace rw {

// A session of which nothing was asked for this long comes to rest, as does a thread that was not
// needed for as long. REWIND_REST_AFTER_MS is for tests; 0: each look has all rest that can.
std::chrono::milliseconds RestAfter();

class SessionThreads {
 public:
  // `serve` is what each does, given its number, until the session ends; below `most`.
  SessionThreads(size_t most, std::function<void(size_t number)> serve);

  // One more serves: who is off is called, or a thread is begun, if there may be more. With one
  // thread at least, to be had no more of is no reason to throw.
  void Add();
  void StartNoMore();

  // The calling thread has received a request, and has answered it.
  void BeginWork() {
    const int idle = --idle_;
    if (idle < least_idle_.load(std::memory_order_relaxed))
      least_idle_.store(idle, std::memory_order_relaxed);
    if (to_rest_.load(std::memory_order_relaxed) == kAll)
      to_rest_.store(0, std::memory_order_relaxed);
    if (idle == 0) Add();  // each fsync and each cold read holds one
  }
  void EndWork() { ++idle_; }

  // To be called now and then. Those that `waits` says of (it may be wrong) that they wait for a
  // request are woken if all are to rest; one that goes to sleep at that moment is woken by a later
  // call.
  void Look(const std::function<bool(size_t number)>& waits);

  // The calling thread is to rest, if it may. Costs nothing worth mentioning.
  bool ShouldRest() const { return to_rest_.load(std::memory_order_relaxed) > 0; }
  enum class Rest {
    kNone,   // it is needed
    kOff,    // until WaitUntilCalled returns
    kWatch,  // until there is a request, then it says EndWatch
  };
  Rest BeginRest();
  void WaitUntilCalled();  // or until the session ends
  void EndWatch();

  // The session ends: who waits for a request is woken, once, and may be again.
  void Wake();
  bool anyone_has_ended() const { return ended_ > 0; }
  bool all_have_ended() const;
  void Join();

 private:
  static constexpr int kAll = std::numeric_limits<int>::max();

  void Run(size_t number);

  const size_t most_;
  const std::function<void(size_t number)> serve_;
  const std::chrono::milliseconds rest_after_ = RestAfter();
  // Of those that serve, who do not work, and who watches: never 0 for long.
  std::atomic<int> idle_{0};
  std::atomic<int> least_idle_{kAll};  // since the last look; kAll: nothing was asked
  std::atomic<int> to_rest_{0};        // so many of them, or kAll
  std::atomic<size_t> ended_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable called_;
  std::list<std::thread> threads_;
  size_t off_ = 0, calls_ = 0;  // who is called is not off any more
  bool watching_ = false, no_more_ = false, ending_ = false;
  std::chrono::steady_clock::time_point next_look_;
};

}  // namespace rw
