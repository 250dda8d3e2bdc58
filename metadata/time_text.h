// The texts in which people and programs write and read instants.
#pragma once

#include <string>
#include <string_view>

#include "metadata/instant.h"

namespace rw {

// RFC 3339 in UTC with all nine fractional digits: `2026-11-22T17:31:00.500000000Z`.
// ParseTime(FormatInstant(t), …) == t for every t up to the year 2262.
std::string FormatInstant(Instant t);

// Accepts
//   - RFC 3339 with a zone (`Z` or `±hh:mm`) and up to nine fractional digits,
//   - `@<unix seconds>[.<up to nine digits>]`,
//   - a duration such as `90s`, `10m`, `2h30m`, `3d` (units w d h m s ms us ns, each at most once,
//   from
//     large to small): that long before `now`,
//   - `now`.
// Throws Refused(EINVAL) with one line for anything else; a date without a zone gets a line of its
// own. The result may lie after `now`: what is too late or too early is the caller's to say.
Instant ParseTime(std::string_view text, Instant now);

// A one-line list of what ParseTime accepts, for messages and help.
inline constexpr std::string_view kTimeSyntax =
    "RFC 3339 with a zone (2026-11-22T17:31:00.5Z), @unix-seconds, a duration ago (90s, 10m, "
    "2h30m, 3d), or now";

}  // namespace rw
