// Which of the names that exist somebody who mistyped one may have meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rw {

// At most three of `known`, the most similar first: those that differ from `given` in about a third
// of its letters at most, upper and lower case being the same, and those that begin or end with it.
std::vector<std::string> MostSimilar(std::string_view given, const std::vector<std::string>& known);

}  // namespace rw
