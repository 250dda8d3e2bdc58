// How long the parts of some work took, for the log.
#pragma once

#include <time.h>

#include <cstdint>
#include <string>

namespace rw {

// For one thread.
class Stopwatch {
 public:
  // The part that began where the last one ended has ended.
  void Did(const char* part) {
    const Time now = Now();
    text_ += (text_.empty() ? "" : ", ") + std::string(part) + " " + Between(last_, now);
    last_ = now;
  }
  uint64_t passed_ms() const { return last_.passed_ms - began_.passed_ms; }
  uint64_t worked_ms() const { return last_.worked_ms - began_.worked_ms; }
  // "1200/500 ms (sweep 800/300, free 400/200)": in all, and of that on a processor.
  std::string Text() const { return Between(began_, last_) + " ms (" + text_ + ")"; }

 private:
  struct Time {
    uint64_t passed_ms = 0, worked_ms = 0;
  };
  static uint64_t Milliseconds(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000 +
           static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
  }
  static Time Now() {
    return {Milliseconds(CLOCK_MONOTONIC), Milliseconds(CLOCK_THREAD_CPUTIME_ID)};
  }
  static std::string Between(const Time& from, const Time& to) {
    return std::to_string(to.passed_ms - from.passed_ms) + "/" +
           std::to_string(to.worked_ms - from.worked_ms);
  }

  const Time began_ = Now();
  Time last_ = began_;
  std::string text_;
};

}  // namespace rw
