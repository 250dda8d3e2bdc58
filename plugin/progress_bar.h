// How far a command has come, for people: one line on the terminal, with rate and remaining time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace rw {

// Shows nothing unless standard error is a terminal, nor in the first second.
class ProgressBar {
 public:
  enum class Unit { kBytes, kThings };
  explicit ProgressBar(std::string what, Unit unit = Unit::kBytes)
      : what_(std::move(what)), unit_(unit) {}
  ~ProgressBar() { Erase(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `total` 0: nobody knows; `done` 0, too: only the time is shown. `step`: what is being done of
  // it, if there are several.
  void Show(uint64_t done, uint64_t total, const std::string& step = "");
  // Whether Show would show something now.
  bool IsDue() const { return is_terminal_ && Clock::now() >= next_; }
  // To be called before anything else is written to the terminal.
  void Erase();

  // The line for a moment, `columns` wide.
  static std::string Line(const std::string& what, Unit unit, uint64_t done, uint64_t total,
                          std::chrono::nanoseconds elapsed, size_t columns);

  static bool IsTerminal();

 private:
  using Clock = std::chrono::steady_clock;

  const std::string what_;
  const Unit unit_;
  const bool is_terminal_ = IsTerminal();
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point next_ = begun_ + std::chrono::seconds(1);
  bool shown_ = false;
};

}  // namespace rw
