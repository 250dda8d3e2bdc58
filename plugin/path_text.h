// Paths of volumes as text. Names are bytes of any kind; JSON, and what is printed, is UTF-8.
//
// A byte that is no part of a UTF-8 character is written `\xNN`, and so is a backslash that would
// otherwise be taken for the beginning of that (`\x5c`). All else stands for itself: nearly every
// path is its own text, each path has its own, and the text leads back to it. The command and the
// daemon tell each other texts, also of names that are no paths (targets, xattrs, programs).
#pragma once

#include <string>
#include <string_view>

namespace rw {

std::string TextOfPath(std::string_view bytes);
std::string PathOfText(std::string_view text);

// The text in an argument of a command, which may have been typed as text or be the bytes.
std::string TextOfArgument(std::string_view argument);

// A text fit for a line of its own on a terminal: control characters are written `\xNN`, too. This
// leads back to the path as well.
std::string Shown(std::string_view text);
// The same for several lines, with tabs: contents of files may hold what commands a terminal.
std::string ShownLines(std::string_view text);

}  // namespace rw
