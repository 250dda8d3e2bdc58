#include "metadata/retention.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

using Period = RetentionPolicy::Period;
using Tier = RetentionPolicy::Tier;

constexpr uint64_t kNsPerHour = 3600ull * 1'000'000'000;
constexpr uint64_t kHoursPerDay = 24;
constexpr uint64_t kHoursPerWeek = 7 * kHoursPerDay;
// The epoch was a Thursday: the Monday before it was so much earlier.
constexpr uint64_t kHoursFromMondayToEpoch = 3 * kHoursPerDay;

struct PeriodName {
  Period period;
  std::string_view name;
  uint64_t longest_ns;
};
constexpr uint64_t kNsPerDay = kHoursPerDay * kNsPerHour;
constexpr PeriodName kPeriods[] = {{Period::kHour, "hourly", kNsPerHour},
                                   {Period::kDay, "daily", kNsPerDay},
                                   {Period::kWeek, "weekly", 7 * kNsPerDay},
                                   {Period::kMonth, "monthly", 31 * kNsPerDay}};

constexpr char kRetention[] = "retention";
constexpr char kKeep[] = "keep";
constexpr char kHistoryLimit[] = "history-limit";
constexpr char kTrash[] = "trash";
constexpr char kNone[] = "none";

const RetentionSettings& BuiltIn() {
  static const auto* const settings = new RetentionSettings{
      {kRetention, "24h"}, {kKeep, "hourly:7d,daily:60d"}, {kHistoryLimit, kNone}, {kTrash, "24h"}};
  return *settings;
}

[[noreturn]] void RefuseKeep(std::string_view keep, const std::string& why) {
  throw Refused(EINVAL, std::string(kKeep) + "=" + Quoted(keep) + " refused: " + why);
}

std::string_view NameOf(Period period) {
  return std::find_if(std::begin(kPeriods), std::end(kPeriods),
                      [&](const PeriodName& known) { return known.period == period; })
      ->name;
}

std::string TextOf(const Tier& tier) {
  return std::string(NameOf(tier.period)) + ":" + FormatDuration(tier.span_ns);
}

// `daily:60d`, which is part of `keep`.
Tier ParseTier(std::string_view keep, std::string_view text) {
  const size_t colon = text.find(':');
  const auto* const known =
      std::find_if(std::begin(kPeriods), std::end(kPeriods),
                   [&](const PeriodName& each) { return each.name == text.substr(0, colon); });
  if (colon == text.npos || known == std::end(kPeriods)) {
    RefuseKeep(keep, Quoted(text) +
                         " is none of hourly:SPAN, daily:SPAN, weekly:SPAN and monthly:SPAN, as in "
                         "hourly:7d,daily:60d; none keeps no points");
  }
  Tier tier{known->period, 0};
  const char* const flaw = ReadDuration(text.substr(colon + 1), tier.span_ns);
  if (flaw != nullptr) {
    RefuseKeep(keep, "the span of " + Quoted(text) + " must be a duration such as 7d" +
                         (*flaw == '\0' ? "" : std::string(": ") + flaw));
  }
  if (tier.span_ns < known->longest_ns) {
    RefuseKeep(keep, "the span of " + Quoted(text) + " is shorter than its period; at least " +
                         FormatDuration(known->longest_ns) + " is needed");
  }
  return tier;
}

std::vector<Tier> ParseTiers(std::string_view keep) {
  std::vector<Tier> tiers;
  if (keep == kNone) return tiers;
  for (size_t at = 0; at <= keep.size();) {
    const size_t comma = std::min(keep.find(',', at), keep.size());
    const Tier tier = ParseTier(keep, keep.substr(at, comma - at));
    const auto place =
        std::lower_bound(tiers.begin(), tiers.end(), tier,
                         [](const Tier& a, const Tier& b) { return a.period < b.period; });
    if (place != tiers.end() && place->period == tier.period) {
      RefuseKeep(keep, std::string(NameOf(tier.period)) + " is given twice");
    }
    tiers.insert(place, tier);
    at = comma + 1;
  }
  return tiers;
}

void CheckNames(const RetentionSettings& settings) {
  for (const auto& [name, value] : settings) {
    if (!BuiltIn().contains(name)) {
      throw Refused(EINVAL, "unknown setting " + Quoted(name) +
                                "; there are retention, keep, history-limit and trash");
    }
  }
}

RetentionPolicy ParseValues(const RetentionSettings& settings, const RetentionSettings& defaults) {
  CheckNames(settings);
  CheckNames(defaults);
  const auto value = [&](const char* name) -> const std::string& {
    for (const RetentionSettings* from : {&settings, &defaults}) {
      if (const auto found = from->find(name); found != from->end()) return found->second;
    }
    return BuiltIn().at(name);
  };
  RetentionPolicy policy;
  policy.range_ns = ParseDuration(kRetention, value(kRetention));
  policy.tiers = ParseTiers(value(kKeep));
  if (const std::string& limit = value(kHistoryLimit); limit != kNone) {
    policy.history_limit_bytes = ParseByteCount(kHistoryLimit, limit);
  }
  policy.trash_ns = ParseDuration(kTrash, value(kTrash));
  return policy;
}

bool AddsNothing(const Tier& tier, const RetentionPolicy& policy) {
  return tier.span_ns <= policy.range_ns;
}

// Boundaries between periods lie on whole hours since the epoch, which is how they are counted.
uint64_t RoundUp(uint64_t hours, uint64_t step) { return (hours + step - 1) / step * step; }

uint64_t FirstMonthNotBefore(uint64_t hours) {
  using std::chrono::days, std::chrono::months, std::chrono::sys_days;
  const sys_days day{days{RoundUp(hours, kHoursPerDay) / kHoursPerDay}};
  const std::chrono::year_month_day date{day};
  sys_days first{date.year() / date.month() / 1};
  if (first < day) first = sys_days{date.year() / date.month() / 1 + months{1}};
  return static_cast<uint64_t>(first.time_since_epoch().count()) * kHoursPerDay;
}

// The first instant at or after `hours` at which a period ends and the next one begins.
uint64_t BoundaryNotBefore(Period period, uint64_t hours) {
  switch (period) {
    case Period::kHour:
      return hours;
    case Period::kDay:
      return RoundUp(hours, kHoursPerDay);
    case Period::kWeek:
      return RoundUp(hours + kHoursFromMondayToEpoch, kHoursPerWeek) - kHoursFromMondayToEpoch;
    case Period::kMonth:
      return FirstMonthNotBefore(hours);
  }
  __builtin_unreachable();
}

bool Ends(Period period, Instant point) {
  if (point == kInstantMax || (point.ns + 1) % kNsPerHour != 0) return false;
  const uint64_t hours = (point.ns + 1) / kNsPerHour;
  return BoundaryNotBefore(period, hours) == hours;
}

}  // namespace

RetentionPolicy RetentionPolicy::InForce(const RetentionSettings& settings,
                                         const RetentionSettings& defaults) {
  RetentionPolicy policy = ParseValues(settings, defaults);
  std::erase_if(policy.tiers, [&](const Tier& tier) { return AddsNothing(tier, policy); });
  return policy;
}

RetentionPolicy RetentionPolicy::Parse(const RetentionSettings& settings,
                                       const RetentionSettings& defaults) {
  const RetentionPolicy policy = ParseValues(settings, defaults);
  if (const auto keep = settings.find(kKeep); keep != settings.end()) {
    for (const Tier& tier : policy.tiers) {
      if (!AddsNothing(tier, policy)) continue;
      RefuseKeep(keep->second, TextOf(tier) +
                                   " adds nothing to retention=" + FormatDuration(policy.range_ns) +
                                   ", which keeps every write; its span must be longer");
    }
  }
  return InForce(settings, defaults);
}

RetentionSettings RetentionPolicy::ToText() const {
  std::string keep;
  for (const Tier& tier : tiers) keep += (keep.empty() ? "" : ",") + TextOf(tier);
  return {{kRetention, FormatDuration(range_ns)},
          {kKeep, keep.empty() ? kNone : keep},
          {kHistoryLimit, history_limit_bytes ? FormatByteCount(*history_limit_bytes) : kNone},
          {kTrash, FormatDuration(trash_ns)}};
}

std::vector<Instant> RetentionPolicy::Points(Instant from, Instant to, Instant now) const {
  std::vector<Instant> points;
  if (from >= to) return points;
  for (const Tier& tier : tiers) {
    // A point is the last nanosecond before the boundary at which its period ends.
    const uint64_t oldest_ns = now.ns > tier.span_ns ? now.ns - tier.span_ns : 0;
    const uint64_t first_ns = std::max(from.ns + 1, oldest_ns);
    const uint64_t last_hour = std::min(to.ns, now.ns) / kNsPerHour;
    uint64_t hours = first_ns / kNsPerHour + (first_ns % kNsPerHour != 0 ? 1 : 0);
    while ((hours = BoundaryNotBefore(tier.period, hours)) <= last_hour) {
      points.push_back(Before(Instant{hours * kNsPerHour}));
      ++hours;
    }
  }
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

bool RetentionPolicy::Wants(Instant point, Instant now) const {
  return std::any_of(tiers.begin(), tiers.end(), [&](const Tier& tier) {
    if (!Ends(tier.period, point)) return false;
    const uint64_t end_ns = point.ns + 1;
    return now.ns < end_ns || now.ns - end_ns <= tier.span_ns;
  });
}

}  // namespace rw
