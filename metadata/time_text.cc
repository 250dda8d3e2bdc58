#include "metadata/time_text.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <optional>

#include "metadata/quantity.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr size_t kFractionDigits = 9;

[[noreturn]] void Refuse(std::string_view text, const std::string& why) {
  throw Refused(EINVAL, "not a time: " + Quoted(text) + ": " + why);
}

[[noreturn]] void RefuseUnknown(std::string_view text) {
  Refuse(text, "accepted: " + std::string(kTimeSyntax));
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Reads a text from the left. Nothing is consumed by a step that does not succeed.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  bool Skip(std::string_view any_of) {
    if (rest_.empty() || any_of.find(rest_[0]) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view Digits() {
    size_t count = 0;
    while (count < rest_.size() && IsDigit(rest_[count])) ++count;
    return Take(count);
  }
  // Exactly `count` digits.
  std::optional<int> Number(size_t count) {
    if (rest_.size() < count) return std::nullopt;
    int value = 0;
    for (size_t i = 0; i < count; ++i) {
      if (!IsDigit(rest_[i])) return std::nullopt;
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    return value;
  }

 private:
  std::string_view Take(size_t count) {
    std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::string_view rest_;
};

// nullopt if it does not fit into 64 bits.
std::optional<uint64_t> ToNumber(std::string_view digits) {
  uint64_t value = 0;
  for (char c : digits) {
    if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(c - '0'), &value)) {
      return std::nullopt;
    }
  }
  return value;
}

// The digits after a decimal point, as nanoseconds.
uint64_t FractionNs(std::string_view text, std::string_view digits) {
  if (digits.empty()) RefuseUnknown(text);
  if (digits.size() > kFractionDigits) Refuse(text, "at most nine fractional digits");
  std::string padded(digits);
  padded.resize(kFractionDigits, '0');
  return *ToNumber(padded);
}

// Times before 1970 are before everything that is kept: they become Instant{0}, so that whoever
// looks them up can say what the first instant is.
Instant FromSeconds(std::string_view text, int64_t seconds, uint64_t fraction_ns) {
  if (seconds < 0) return Instant{0};
  uint64_t ns = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(seconds), kNsPerSecond, &ns) ||
      __builtin_add_overflow(ns, fraction_ns, &ns)) {
    Refuse(text, "too far in the future");
  }
  return Instant{ns};
}

std::optional<int64_t> ReadZoneSeconds(Reader& reader) {
  if (reader.Skip("Zz")) return 0;
  int sign = 0;
  if (reader.Skip("+")) sign = 1;
  if (sign == 0 && reader.Skip("-")) sign = -1;
  if (sign == 0) return std::nullopt;
  std::optional<int> hours = reader.Number(2);
  if (!hours || *hours > 23 || !reader.Skip(":")) return std::nullopt;
  std::optional<int> minutes = reader.Number(2);
  if (!minutes || *minutes > 59) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

Instant ParseDate(std::string_view text) {
  Reader reader(text);
  std::optional<int> year = reader.Number(4);
  if (!year || !reader.Skip("-")) RefuseUnknown(text);
  std::optional<int> month = reader.Number(2);
  if (!month || !reader.Skip("-")) RefuseUnknown(text);
  std::optional<int> day = reader.Number(2);
  if (!day) RefuseUnknown(text);
  std::chrono::year_month_day date{std::chrono::year{*year},
                                   std::chrono::month{static_cast<unsigned>(*month)},
                                   std::chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok()) Refuse(text, "there is no such day");
  if (reader.done()) {
    Refuse(text, "a date needs a time and a zone, as in 2026-11-22T17:31:00.5Z");
  }
  if (!reader.Skip("Tt ")) RefuseUnknown(text);
  std::optional<int> hour = reader.Number(2);
  if (!hour || !reader.Skip(":")) RefuseUnknown(text);
  std::optional<int> minute = reader.Number(2);
  if (!minute || !reader.Skip(":")) RefuseUnknown(text);
  std::optional<int> second = reader.Number(2);
  if (!second) RefuseUnknown(text);
  if (*hour > 23 || *minute > 59 || *second > 59) Refuse(text, "there is no such time of day");
  uint64_t fraction_ns = reader.Skip(".") ? FractionNs(text, reader.Digits()) : 0;
  if (reader.done()) Refuse(text, "no zone: add Z for UTC or an offset such as +01:00");
  std::optional<int64_t> zone_seconds = ReadZoneSeconds(reader);
  if (!zone_seconds || !reader.done()) {
    Refuse(text, "the zone must be Z or an offset such as +01:00");
  }
  int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
  int64_t seconds = days * 86400 + *hour * 3600 + *minute * 60 + *second - *zone_seconds;
  return FromSeconds(text, seconds, fraction_ns);
}

Instant ParseUnix(std::string_view text) {
  Reader reader(text.substr(1));
  std::string_view digits = reader.Digits();
  if (digits.empty()) RefuseUnknown(text);
  std::optional<uint64_t> seconds = ToNumber(digits);
  uint64_t fraction_ns = reader.Skip(".") ? FractionNs(text, reader.Digits()) : 0;
  if (!reader.done()) RefuseUnknown(text);
  if (!seconds || *seconds > static_cast<uint64_t>(INT64_MAX)) {
    Refuse(text, "too far in the future");
  }
  return FromSeconds(text, static_cast<int64_t>(*seconds), fraction_ns);
}

Instant ParseAgo(std::string_view text, Instant now) {
  uint64_t total_ns = 0;
  const char* const flaw = ReadDuration(text, total_ns);
  if (flaw != nullptr && *flaw == '\0') RefuseUnknown(text);
  if (flaw != nullptr) Refuse(text, flaw);
  return total_ns > now.ns ? Instant{0} : Instant{now.ns - total_ns};
}

}  // namespace

std::string FormatInstant(Instant t) {
  std::chrono::sys_seconds seconds{std::chrono::seconds{t.ns / kNsPerSecond}};
  auto day = std::chrono::floor<std::chrono::days>(seconds);
  std::chrono::year_month_day date{day};
  std::chrono::hh_mm_ss time{seconds - day};
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%09uZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                static_cast<unsigned>(t.ns % kNsPerSecond));
  return text;
}

Instant ParseTime(std::string_view text, Instant now) {
  if (text == "now") return now;
  if (text.empty()) RefuseUnknown(text);
  if (text[0] == '@') return ParseUnix(text);
  if (!IsDigit(text[0])) RefuseUnknown(text);
  // A date is the only form with a dash after four digits.
  if (text.size() > 4 && text[4] == '-') return ParseDate(text);
  return ParseAgo(text, now);
}

}  // namespace rw
