#include "plugin/path_text.h"

#include <cctype>
#include <cstdio>

#include "metadata/quoted.h"

namespace rw {
namespace {

constexpr size_t kEscapeBytes = 4;  // of `\xNN`

bool IsHex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

bool BeginsEscape(std::string_view text) {
  return text.size() >= kEscapeBytes && text.starts_with("\\x") && IsHex(text[2]) && IsHex(text[3]);
}

void AppendEscaped(std::string_view bytes, std::string* text) {
  for (const char c : bytes) {
    char escape[kEscapeBytes + 1];
    std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(c));
    *text += escape;
  }
}

// With what is not UTF-8 escaped, and each character that `escaped` says so of, which is told it
// and what follows.
template <typename Fn>
std::string Escape(std::string_view bytes, Fn escaped) {
  std::string text;
  while (!bytes.empty()) {
    const size_t length = Utf8Length(bytes);
    const std::string_view character = bytes.substr(0, length == 0 ? 1 : length);
    if (length == 0 || escaped(character, bytes)) {
      AppendEscaped(character, &text);
    } else {
      text += character;
    }
    bytes.remove_prefix(character.size());
  }
  return text;
}

}  // namespace

std::string TextOfPath(std::string_view bytes) {
  return Escape(bytes, [](std::string_view, std::string_view rest) { return BeginsEscape(rest); });
}

std::string TextOfArgument(std::string_view argument) {
  return Escape(argument, [](std::string_view, std::string_view) { return false; });
}

std::string Shown(std::string_view text) {
  return Escape(text,
                [](std::string_view character, std::string_view) { return IsControl(character); });
}

std::string ShownLines(std::string_view text) {
  return Escape(text, [](std::string_view character, std::string_view) {
    return IsControl(character) && character != "\n" && character != "\t";
  });
}

std::string PathOfText(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    if (BeginsEscape(text)) {
      bytes += static_cast<char>(std::stoi(std::string(text.substr(2, 2)), nullptr, 16));
      text.remove_prefix(kEscapeBytes);
    } else {
      bytes += text.front();
      text.remove_prefix(1);
    }
  }
  return bytes;
}

}  // namespace rw
