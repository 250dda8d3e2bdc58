#include "plugin/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "plugin/facts.h"

namespace rw {
namespace {

constexpr std::chrono::milliseconds kBetween{200};
constexpr size_t kDefaultColumns = 80;

size_t Columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return size.ws_col;
}

}  // namespace

bool ProgressBar::IsTerminal() { return isatty(STDERR_FILENO) != 0; }

void ProgressBar::Show(uint64_t done, uint64_t total, const std::string& step) {
  if (!IsDue()) return;
  const auto now = Clock::now();
  next_ = now + kBetween;
  shown_ = true;
  const std::string what = step.empty() ? what_ : what_ + ": " + step;
  std::cerr << "\r\033[K" << Line(what, unit_, done, total, now - begun_, Columns()) << std::flush;
}

void ProgressBar::Erase() {
  if (shown_) std::cerr << "\r\033[K" << std::flush;
  shown_ = false;
}

std::string ProgressBar::Line(const std::string& what, Unit unit, uint64_t done, uint64_t total,
                              std::chrono::nanoseconds elapsed, size_t columns) {
  const auto amount = [unit](uint64_t value) {
    return unit == Unit::kBytes ? HumanBytes(value) : std::to_string(value);
  };
  const double seconds = std::max(std::chrono::duration<double>(elapsed).count(), 1e-9);
  const double rate = static_cast<double>(done) / seconds;
  std::string figures = amount(done);
  if (total > 0) figures += " of " + amount(total);
  if (done == 0 && total == 0) {
    figures = HumanDuration(static_cast<uint64_t>(seconds) * 1'000'000'000);
  } else {
    figures += ", " + amount(static_cast<uint64_t>(rate)) + "/s";
  }
  if (total > done && rate >= 1) {
    const double left = static_cast<double>(total - done) / rate;
    figures +=
        ", " + HumanDuration(static_cast<uint64_t>(std::min(left, 1e9)) * 1'000'000'000) + " left";
  }
  std::string line = what + " ";
  constexpr size_t kLeastBar = 10, kMostBar = 40, kBrackets = 3;
  const size_t used = line.size() + figures.size() + kBrackets + 1;
  if (total > 0 && columns >= used + kLeastBar) {
    const size_t width = std::min(columns - used, kMostBar);
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    const auto full = static_cast<size_t>(share * static_cast<double>(width));
    line += "[" + std::string(full, '#') + std::string(width - full, '.') + "] ";
  }
  line += figures;
  return line.substr(0, columns > 0 ? columns - 1 : 0);
}

}  // namespace rw
