#include "plugin/base64.h"

#include <array>
#include <cerrno>
#include <cstdint>

#include "metadata/refused.h"

namespace rw {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> MakeValues() {
  std::array<uint8_t, 256> values{};
  for (uint8_t& value : values) value = kNoDigit;
  for (size_t i = 0; i < kDigits.size(); ++i)
    values[static_cast<uint8_t>(kDigits[i])] = static_cast<uint8_t>(i);
  return values;
}
constexpr std::array<uint8_t, 256> kValues = MakeValues();

}  // namespace

std::string EncodeBase64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (k < count ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k)
      text.push_back(k <= count ? kDigits[bits >> (18 - 6 * k) & 63] : '=');
  }
  return text;
}

std::string DecodeBase64(std::string_view text) {
  const auto fail = [] { throw Refused(EPROTO, "the daemon's answer holds bytes that are none"); };
  if (text.size() % 4 != 0) fail();
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    const std::string_view four = text.substr(i, 4);
    const size_t digits = four.find_last_not_of('=') + 1;
    if (digits < 2 || (digits < 4 && i + 4 < text.size())) fail();
    uint32_t bits = 0;
    for (size_t k = 0; k < 4; ++k) {
      const uint8_t value = k < digits ? kValues[static_cast<uint8_t>(four[k])] : 0;
      if (value == kNoDigit) fail();
      bits = bits << 6 | value;
    }
    for (size_t k = 0; k + 1 < digits; ++k)
      bytes.push_back(static_cast<char>(bits >> (16 - 8 * k) & 0xff));
  }
  return bytes;
}

}  // namespace rw
