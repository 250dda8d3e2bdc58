// A wall clock that a test sets.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace rw::testing {

// Thread safety: all methods may be called from any thread. It must outlive what reads it.
class ManualClock {
 public:
  static constexpr uint64_t kSecond = 1'000'000'000;

  explicit ManualClock(uint64_t ns = 1'700'000'000 * kSecond) : ns_(ns) {}

  uint64_t now() const { return ns_; }
  void Set(uint64_t ns) { ns_ = ns; }
  void Forward(uint64_t ns) { ns_ += ns; }
  void Back(uint64_t ns) { ns_ -= ns; }
  std::function<uint64_t()> AsFunction() {
    return [this] { return now(); };
  }

 private:
  std::atomic<uint64_t> ns_;
};

}  // namespace rw::testing
