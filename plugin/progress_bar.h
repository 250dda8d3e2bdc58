// How far a command has come, for people: one line on the terminal, with rate and remaining time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace rw {

// Shows nothing unless standard error is a terminal, nor in the first second.
class ProgressBar {
 public:
  explicit ProgressBar(std::string what) : what_(std::move(what)) {}
  ~ProgressBar() { Erase(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Bytes; `total` 0: nobody knows.
  void Show(uint64_t done, uint64_t total);
  // To be called before anything else is written to the terminal.
  void Erase();

  // The line for a moment, `columns` wide.
  static std::string Line(const std::string& what, uint64_t done, uint64_t total,
                          std::chrono::nanoseconds elapsed, size_t columns);

 private:
  using Clock = std::chrono::steady_clock;

  const std::string what_;
  const bool is_terminal_ = IsTerminal();
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point next_ = begun_ + std::chrono::seconds(1);
  bool shown_ = false;

  static bool IsTerminal();
};

}  // namespace rw
