#include "metadata/mark_schedule.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "metadata/quantity.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kShortest = 60 * kSecond;
constexpr uint64_t kLongest = 366 * 86400 * kSecond;
constexpr uint64_t kMaxCount = 100'000;
constexpr uint64_t kDefaultCount = 24;
constexpr char kNone[] = "none";

[[noreturn]] void Refuse(const char* name, const std::string& value, const std::string& why) {
  throw Refused(EINVAL, std::string(name) + "=" + Quoted(value) + " refused: " + why);
}

void ParseKeep(const std::string& text, MarkSchedule* schedule) {
  uint64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error == std::errc() && end == text.data() + text.size()) {
    if (count < 1 || count > kMaxCount)
      Refuse(kMarkKeep, text, "from 1 to 100000 marks can be kept");
    schedule->keep_count = count;
    return;
  }
  schedule->keep_count.reset();
  if (ReadDuration(text, schedule->keep_ns) != nullptr)
    Refuse(kMarkKeep, text, "it must be a number of marks such as 48, or a duration such as 7d");
  if (schedule->keep_ns < schedule->every_ns)
    Refuse(kMarkKeep, text, "it is shorter than mark-every: no mark would be kept");
}

}  // namespace

MarkSchedule MarkSchedule::Parse(const ScheduleSettings& settings) {
  MarkSchedule schedule;
  schedule.keep_count = kDefaultCount;
  for (const auto& [name, value] : settings) {
    if (name != kMarkEvery && name != kMarkKeep)
      throw Refused(EINVAL, "unknown setting " + Quoted(name) + " of a schedule");
  }
  if (const auto every = settings.find(kMarkEvery);
      every != settings.end() && every->second != kNone) {
    if (ReadDuration(every->second, schedule.every_ns) != nullptr)
      Refuse(kMarkEvery, every->second, "it must be a duration such as 1h, or none");
    if (schedule.every_ns < kShortest || schedule.every_ns > kLongest)
      Refuse(kMarkEvery, every->second, "it must be from 1m to 366d");
    if (schedule.every_ns % kShortest != 0)
      Refuse(kMarkEvery, every->second, "it must be whole minutes");
  }
  if (const auto keep = settings.find(kMarkKeep); keep != settings.end()) {
    if (schedule.every_ns == 0)
      Refuse(kMarkKeep, keep->second, "it is of the marks that mark-every makes; give that, too");
    ParseKeep(keep->second, &schedule);
  }
  return schedule;
}

size_t MarkSchedule::CountExpired(const std::vector<Instant>& marks, Instant now) const {
  if (keep_count) return marks.size() > *keep_count ? marks.size() - *keep_count : 0;
  return static_cast<size_t>(std::count_if(marks.begin(), marks.end(), [&](Instant at) {
    return at < now && now.ns - at.ns > keep_ns;
  }));
}

std::string MarkSchedule::KeepText() const {
  return keep_count ? std::to_string(*keep_count) : FormatDuration(keep_ns);
}

std::string ScheduledLabel(Instant time) {
  const std::string text = FormatInstant(time);  // 2026-11-27T14:00:00.000000000Z
  constexpr size_t kUpToMinutes = 16;
  return "auto-" + text.substr(0, kUpToMinutes) + "Z";
}

}  // namespace rw
