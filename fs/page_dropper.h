// Makes the kernel forget what it has cached of nodes, or views, on a thread of its own: the kernel
// may first ask the session to write some of it, so no thread that serves requests can wait for it.
//
// Thread safety: Drop may be called from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

namespace rw {

class PageDropper {
 public:
  // `drop` is what drops one node's pages; it may take its time and must not throw.
  explicit PageDropper(std::function<void(uint64_t node)> drop) : drop_(std::move(drop)) {}
  ~PageDropper() { Stop(); }
  PageDropper(const PageDropper&) = delete;
  PageDropper& operator=(const PageDropper&) = delete;

  // Will drop the node's pages soon.
  void Drop(uint64_t node);
  // Returns when nothing is being dropped; nothing will be any more.
  void Stop();

 private:
  void Run();

  const std::function<void(uint64_t)> drop_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::set<uint64_t> nodes_;
  bool stopped_ = false;
  std::thread thread_;  // from the first node on: most sessions never have one
};

}  // namespace rw
