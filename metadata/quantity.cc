#include "metadata/quantity.h"

#include <cctype>
#include <cerrno>
#include <charconv>

#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

struct Unit {
  std::string_view name;
  uint64_t ns;
};
// From large to small, the order in which a duration names them.
constexpr Unit kUnits[] = {{"w", 604800 * kNsPerSecond},
                           {"d", 86400 * kNsPerSecond},
                           {"h", 3600 * kNsPerSecond},
                           {"m", 60 * kNsPerSecond},
                           {"s", kNsPerSecond},
                           {"ms", 1'000'000},
                           {"us", 1'000},
                           {"ns", 1}};

constexpr std::string_view kByteUnits = "KMGTP";
constexpr uint64_t kMaxByteCount = INT64_MAX;

[[noreturn]] void Refuse(std::string_view what, std::string_view text, const std::string& why) {
  throw Refused(EINVAL, std::string(what) + "=" + Quoted(text) + " refused: " + why);
}

// Takes what `belongs` accepts from the left of `text`.
template <typename Predicate>
std::string_view Take(std::string_view& text, Predicate belongs) {
  size_t count = 0;
  while (count < text.size() && belongs(text[count])) ++count;
  const std::string_view taken = text.substr(0, count);
  text.remove_prefix(count);
  return taken;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) { return c >= 'a' && c <= 'z'; }

}  // namespace

const char* ReadDuration(std::string_view text, uint64_t& ns) {
  constexpr const char* kNoDuration = "";
  if (text.empty()) return kNoDuration;
  ns = 0;
  const Unit* next_unit = std::begin(kUnits);
  while (!text.empty()) {
    const std::string_view digits = Take(text, IsDigit);
    const std::string_view name = Take(text, IsLetter);
    if (digits.empty() || name.empty()) return kNoDuration;
    const Unit* unit = std::begin(kUnits);
    while (unit != std::end(kUnits) && unit->name != name) ++unit;
    if (unit == std::end(kUnits)) return kNoDuration;
    if (unit < next_unit) {
      return "a duration names each of w d h m s ms us ns at most once, from large to small";
    }
    next_unit = unit + 1;
    uint64_t count = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    uint64_t part_ns = 0;
    if (error != std::errc() || __builtin_mul_overflow(count, unit->ns, &part_ns) ||
        __builtin_add_overflow(ns, part_ns, &ns)) {
      return "the duration is too long";
    }
  }
  return nullptr;
}

uint64_t ParseDuration(std::string_view what, std::string_view text) {
  uint64_t ns = 0;
  if (text == "0") return 0;
  const char* flaw = ReadDuration(text, ns);
  if (flaw != nullptr && *flaw == '\0') {
    flaw = "it must be a duration such as 90s, 24h, 7d or 1w2d (units w d h m s ms us ns), or 0";
  }
  if (flaw != nullptr) Refuse(what, text, flaw);
  return ns;
}

std::string FormatDuration(uint64_t ns) {
  if (ns == 0) return "0";
  std::string text;
  for (const Unit& unit : kUnits) {
    if (unit.name == "w") continue;  // "60d" is easier to grasp than "8w4d"
    if (ns >= unit.ns) text += std::to_string(ns / unit.ns).append(unit.name);
    ns %= unit.ns;
  }
  return text;
}

uint64_t ParseByteCount(std::string_view what, std::string_view text) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, 10);
  size_t power = 0;
  if (rest != end && rest + 1 == end) {
    power = kByteUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(*rest)))) + 1;
  }
  const bool whole = rest == end || (rest + 1 == end && power != 0);
  if (error != std::errc() || !whole || number == 0 || number > (kMaxByteCount >> (10 * power))) {
    Refuse(what, text,
           "it must be a number of bytes from 1 up, or of K, M, G, T or P, such as 20G");
  }
  return number << (10 * power);
}

std::string FormatByteCount(uint64_t bytes) {
  size_t power = 0;
  while (power < kByteUnits.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++power;
  }
  std::string text = std::to_string(bytes);
  if (power > 0) text += kByteUnits[power - 1];
  return text;
}

}  // namespace rw
