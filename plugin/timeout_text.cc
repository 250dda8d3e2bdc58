#include "plugin/timeout_text.h"

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "metadata/quantity.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {

std::chrono::seconds ParseTimeout(const std::string& text) {
  constexpr uint64_t kSecond = 1'000'000'000;
  const bool number = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isdigit(c) != 0;
  });
  const uint64_t ns = ParseDuration("timeout", number ? text + "s" : text);
  if (ns < kSecond || ns > 86400 * kSecond) {
    throw Refused(EINVAL, "timeout " + Quoted(text) + " refused: it must be from 1s to 1d");
  }
  return std::chrono::seconds(ns / kSecond);
}

}  // namespace rw
