// When a volume gets marks by itself, and for how long they are kept, as people say it.
//
//   mark-every   a duration of whole minutes ("1h"); "none"
//   mark-keep    how many of these marks ("48"), or for how long ("7d")
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "metadata/instant.h"

namespace rw {

// Settings in text, by their names above.
using ScheduleSettings = std::map<std::string, std::string>;

inline constexpr char kMarkEvery[] = "mark-every";
inline constexpr char kMarkKeep[] = "mark-keep";

struct MarkSchedule {
  uint64_t every_ns = 0;  // 0: never
  std::optional<uint64_t> keep_count;
  uint64_t keep_ns = 0;  // unless they are counted

  // Throws Refused(EINVAL) for an unknown name, a value that does not parse, and `mark-keep`
  // without `mark-every`, which would keep nothing.
  static MarkSchedule Parse(const ScheduleSettings& settings);

  // The last time of the schedule at or before `now`: these are the multiples of the period since
  // the epoch, so those of an hour are full hours UTC.
  Instant LastTime(Instant now) const { return Instant{now.ns - now.ns % every_ns}; }
  Instant NextTime(Instant now) const { return Instant{LastTime(now).ns + every_ns}; }
  // Of the marks' instants, oldest first, how many of the oldest are not kept any more.
  size_t CountExpired(const std::vector<Instant>& marks, Instant now) const;
  std::string KeepText() const;
};

// What the mark of a time of a schedule is called: `auto-2026-11-27T14:00Z`. Names sort as their
// times do.
std::string ScheduledLabel(Instant time);

}  // namespace rw
