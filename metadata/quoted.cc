#include "metadata/quoted.h"

#include <cstdint>
#include <cstdio>

namespace rw {
namespace {

constexpr size_t kMaxShownBytes = 100;

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

}  // namespace

size_t Utf8Length(std::string_view text) {
  if (text.empty()) return 0;
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : byte(0) >= 0xC0 ? 2 : 0;
  if (length == 0 || length > text.size() || byte(0) > 0xF4) return 0;
  uint32_t code = byte(0) & (0xFF >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(byte(i))) return 0;
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code < kSmallest[length] || code > 0x10FFFF || surrogate ? 0 : length;
}

bool IsControl(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  return byte(0) < 0x20 || byte(0) == 0x7F ||
         (character.size() == 2 && byte(0) == 0xC2 && byte(1) < 0xA0);
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  size_t at = 0;
  while (at < text.size()) {
    if (at >= kMaxShownBytes) {
      return out + "…\" (" + std::to_string(text.size()) + " bytes)";
    }
    size_t length = Utf8Length(text.substr(at));
    unsigned char byte = static_cast<unsigned char>(text[at]);
    if (length == 0 || IsControl(text.substr(at, length))) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", byte);
      out += hex;
      length = 1;
    } else {
      if (byte == '"' || byte == '\\') out += '\\';
      out += text.substr(at, length);
    }
    at += length;
  }
  return out + '"';
}

const char* FlawOfName(std::string_view text) {
  if (text.empty()) return "it is empty";
  if (text.find('/') != text.npos) return "it contains a /";
  for (size_t at = 0; at < text.size();) {
    const size_t length = Utf8Length(text.substr(at));
    if (length == 0) return "it is not UTF-8";
    if (IsControl(text.substr(at, length))) return "it contains a control character";
    at += length;
  }
  return nullptr;
}

}  // namespace rw
