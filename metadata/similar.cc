#include "metadata/similar.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

namespace rw {
namespace {

constexpr size_t kMaxShown = 3;

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// How many letters must be inserted, removed, replaced or swapped with the next one.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    before_last = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::vector<std::string> MostSimilar(std::string_view given,
                                     const std::vector<std::string>& known) {
  const std::string wanted = LowerCase(given);
  const size_t most = std::max<size_t>(1, wanted.size() / 3);
  std::vector<std::pair<size_t, std::string>> found;
  for (const std::string& name : known) {
    const std::string lower = LowerCase(name);
    const bool part = wanted.size() > 1 && (lower.starts_with(wanted) || lower.ends_with(wanted));
    const size_t longer = std::max(lower.size(), wanted.size());
    const size_t shorter = std::min(lower.size(), wanted.size());
    // What differs more in length alone need not be compared.
    const size_t distance = longer - shorter > most ? most + 1 : Distance(wanted, lower);
    if (part || distance <= most) found.emplace_back(distance, name);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  if (found.size() > kMaxShown) found.resize(kMaxShown);
  std::vector<std::string> names;
  names.reserve(found.size());
  for (auto& [distance, name] : found) names.push_back(std::move(name));
  return names;
}

}  // namespace rw
