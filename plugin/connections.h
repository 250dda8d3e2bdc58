// Connections whose requests are still on their way. One thread waits for all of them, so that a
// client that is slow, silent or gone costs a descriptor for a while, and never a thread.
//
// Thread safety: Add may be called from any thread; Stop once, by whoever made it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "plugin/gathered_request.h"

namespace rw {

struct ConnectionsOptions {
  size_t threads = 64;  // that work on requests; each of which may wait for a volume
  size_t max_body_bytes = 1 << 20;
  // A client that has not sent its request by then will not.
  std::chrono::milliseconds patience{30'000};
  // Beyond this the one that has waited longest is given up.
  size_t max_gathering = 1024;
  // Beyond this Add waits: the daemon needs its descriptors for volumes.
  size_t max_open = 4096;
  // Requests that are worked on as soon as their head is there.
  bool (*is_streamed)(std::string_view request) = nullptr;
  // Requests that are answered without waiting for anything, also while all threads wait.
  std::function<bool(const std::string& request)> at_once = [](const std::string&) {
    return false;
  };
};

class Connections {
 public:
  // Answers on the descriptor, which it leaves open. The request is whole, unless the client ended
  // it early, took too long, or sends too much.
  using Work = std::function<void(int fd, std::string request)>;

  Connections(Work work, ConnectionsOptions options);
  ~Connections() { Stop(); }
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Takes a connected stream socket.
  void Add(int fd);
  // Gives up what is not whole, works on all that is, and returns when that is done.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  struct Gathering {
    int fd;
    GatheredRequest request;
    Clock::time_point until;
  };
  struct Job {
    int fd;
    std::string request;
  };

  void Gather();
  void TakeAdded();
  bool TookLast();  // no more come
  int MillisecondsToWait() const;
  // True if the request is as whole as it will ever be.
  static bool Receive(Gathering* gathering);
  void Pass(Gathering* gathering);
  void WorkOnJobs();
  void Do(Job job);
  void Close(int fd);

  const Work work_;
  const ConnectionsOptions options_;
  const int wake_fd_;
  std::list<Gathering> gathering_;  // of the gathering thread; the oldest first

  std::mutex mutex_;  // guards what follows
  std::condition_variable fewer_open_, more_jobs_;
  std::vector<int> added_;
  std::deque<Job> jobs_;
  size_t open_ = 0;
  bool stopping_ = false;  // nothing more is added
  bool no_more_jobs_ = false;

  std::vector<std::thread> workers_;
  std::thread gatherer_;
};

}  // namespace rw
