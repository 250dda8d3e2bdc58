// Text from outside, made fit for a one-line message.
#pragma once

#include <string>
#include <string_view>

namespace rw {

// `text` in double quotes: control characters and bytes that are not UTF-8 become `\xNN`, quotes
// and backslashes are escaped, and what is long is cut with its length said, so that a message
// stays one readable line.
std::string Quoted(std::string_view text);

// Length in bytes of the UTF-8 character at the start of `text`, or 0 if it does not start with a
// valid one.
size_t Utf8Length(std::string_view text);

// Whether a UTF-8 character is a control character. U+0080 to U+009F are, too; terminals obey some
// of them.
bool IsControl(std::string_view character);

// What keeps `text` from being a name that people can read, e.g. "it is not UTF-8" or "it contains
// a control character"; null if nothing does.
const char* FlawOfName(std::string_view text);

}  // namespace rw
