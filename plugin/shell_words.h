// A command line as bash has it while it is typed, in words; and words as bash takes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rw {

struct ShellWords {
  std::vector<std::string> words;  // without quotes; the last is what is being typed, maybe empty
  // How many bytes of the last word bash leaves as they are when it puts a completion in its place:
  // those before an open quote, or through the last `=` or `:`.
  size_t kept = 0;
  char open_quote = 0;  // around what is being typed
};

ShellWords SplitShellLine(std::string_view line);

// What to give bash for `word`, of which ShellWords::kept is kept; between quotes, too, nothing of
// it means anything to the shell.
std::string CompletedWord(const ShellWords& line, std::string_view word);

}  // namespace rw
