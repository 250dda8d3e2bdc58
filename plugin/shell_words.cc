#include "plugin/shell_words.h"

#include <algorithm>

namespace rw {
namespace {

// What separates words for readline, though not for the shell; see COMP_WORDBREAKS.
constexpr std::string_view kBreaks = "=:";
constexpr std::string_view kSpaces = " \t\n";
constexpr std::string_view kPlain = "-_./=:@%+,^~";

bool IsPlain(char byte) {
  const bool is_letter_or_digit =
      (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
  return is_letter_or_digit || static_cast<unsigned char>(byte) >= 0x80 ||
         kPlain.find(byte) != std::string_view::npos;
}

// A byte of what is between quotes, as it means itself there.
std::string Quotable(char byte, char quote) {
  if (quote == '\'') return byte == quote ? R"('\'')" : std::string(1, byte);
  if (byte == '!') return R"("\!")";  // else history; no backslash between quotes would go away
  const bool is_plain = std::string_view("\"\\$`").find(byte) == std::string_view::npos;
  return is_plain ? std::string(1, byte) : std::string{'\\', byte};
}

// Reads a line byte by byte.
class Splitter {
 public:
  void Take(char byte) {
    if (escaped_) {
      // Between double quotes a backslash is itself before most others.
      if (quote_ == '"' && std::string_view("\"\\$`").find(byte) == std::string_view::npos)
        line_.words.back() += '\\';
      line_.words.back() += byte;
      escaped_ = false;
    } else if (byte == '\\' && quote_ != '\'') {
      escaped_ = true;
    } else if (quote_ != 0) {
      TakeQuoted(byte);
    } else {
      TakePlain(byte);
    }
  }
  ShellWords Finish() {
    line_.open_quote = quote_;
    return line_;
  }

 private:
  void TakeQuoted(char byte) {
    if (byte == quote_) {
      quote_ = 0;
      line_.kept = kept_before_quote_;
    } else {
      line_.words.back() += byte;
    }
  }
  void TakePlain(char byte) {
    if (byte == '\'' || byte == '"') {
      quote_ = byte;
      in_word_ = true;
      kept_before_quote_ = line_.kept;
      line_.kept = line_.words.back().size();
    } else if (kSpaces.find(byte) != std::string_view::npos) {
      if (in_word_) line_.words.emplace_back();
      in_word_ = false;
      line_.kept = 0;
    } else {
      in_word_ = true;
      line_.words.back() += byte;
      if (kBreaks.find(byte) != std::string_view::npos) line_.kept = line_.words.back().size();
    }
  }

  ShellWords line_{.words = {""}};
  char quote_ = 0;
  size_t kept_before_quote_ = 0;
  bool escaped_ = false;
  bool in_word_ = false;
};

}  // namespace

ShellWords SplitShellLine(std::string_view line) {
  Splitter splitter;
  for (const char byte : line) splitter.Take(byte);
  return splitter.Finish();
}

std::string CompletedWord(const ShellWords& line, std::string_view word) {
  std::string completed(word.substr(std::min(line.kept, word.size())));
  std::string escaped;
  for (size_t i = 0; i < completed.size(); ++i) {
    if (line.open_quote != 0) {
      escaped += Quotable(completed[i], line.open_quote);
      continue;
    }
    // A tilde in front means a home directory.
    if (!IsPlain(completed[i]) || (i == 0 && completed[i] == '~')) escaped += '\\';
    escaped += completed[i];
  }
  return escaped;
}

}  // namespace rw
