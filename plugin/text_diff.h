// What differs between two texts, as `diff -u` writes it.
#pragma once

#include <string>
#include <string_view>

namespace rw {

// Empty if they are equal. Lines that came and went are as few as can be, unless there are very
// many.
std::string UnifiedDiff(std::string_view before, std::string_view after,
                        const std::string& name_before, const std::string& name_after);

// Whether it can be shown as text: without NULs, and UTF-8.
bool IsText(std::string_view bytes);

}  // namespace rw
