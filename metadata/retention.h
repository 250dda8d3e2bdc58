// How much of a volume's history is kept, as people say it and as instants.
//
//   retention      every write of so long ago until now ("24h"; "0": none)
//   keep           thereafter the last state of each hour, day, week, month
//                  ("hourly:7d,daily:60d"; "none")
//   history-limit  what history beyond the live contents may take on the disk ("50G"; "none")
//   trash          how long a removed volume can still be used by its name ("24h"; "0": not at all)
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/instant.h"
#include "metadata/quantity.h"

namespace rw {

// Settings in text, by their names above; what is absent is as the daemon's defaults say.
using RetentionSettings = std::map<std::string, std::string>;

struct RetentionPolicy {
  enum class Period { kHour, kDay, kWeek, kMonth };  // UTC; weeks begin on Monday
  struct Tier {
    Period period = Period::kHour;
    uint64_t span_ns = 0;  // the last state of each period that ended at most so long ago is kept
    friend bool operator==(const Tier&, const Tier&) = default;
  };

  uint64_t range_ns = 0;
  std::vector<Tier> tiers;  // from short periods to long ones, each period at most once
  std::optional<uint64_t> history_limit_bytes;
  uint64_t trash_ns = 0;

  // `settings` override `defaults`, which override the built-in defaults (24h; hourly:7d,daily:60d;
  // none; 24h). Throws Refused(EINVAL) with one line for an unknown name, a value that does not
  // parse (a span shorter than its period is one), and a `keep` among the settings that contradicts
  // the range: a tier whose span does not exceed it. Of a `keep` that comes from the defaults such
  // tiers are left out: they add nothing, and nobody asked for them.
  static RetentionPolicy Parse(const RetentionSettings& settings,
                               const RetentionSettings& defaults = {});
  // The same for settings that Parse accepted before: if a contradiction came up since, because the
  // defaults are others now, the tiers that add nothing are left out instead of refused.
  static RetentionPolicy InForce(const RetentionSettings& settings,
                                 const RetentionSettings& defaults = {});

  // In the words of the settings, every one of them present.
  RetentionSettings ToText() const;

  // The schedule's points in [from, to), oldest first, that are wanted at `now`: the last
  // nanosecond of each period of a tier that has ended by `now` and whose end is not longer ago
  // than the tier's span.
  std::vector<Instant> Points(Instant from, Instant to, Instant now) const;
  // Whether `point`, once given out by Points, is still wanted at `now`: false for an instant that
  // ends no period of a tier, as after a change of the policy.
  bool Wants(Instant point, Instant now) const;

  friend bool operator==(const RetentionPolicy&, const RetentionPolicy&) = default;
};

}  // namespace rw
