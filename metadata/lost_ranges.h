// Ranges of keys that an index is known to have lost: nobody may take what is not found there for
// what is not there.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace rw {

// Not thread-safe; reading is.
class LostRanges {
 public:
  void Add(const std::string& from, const std::string& to) { ranges_[from] = to; }  // [from, to)
  bool empty() const { return ranges_.empty(); }
  const std::map<std::string, std::string, std::less<>>& ranges() const { return ranges_; }

  // Whether a key in [from, to) may have been lost.
  bool Touch(std::string_view from, std::string_view to) const {
    for (const auto& [lost_from, lost_to] : ranges_) {
      if (lost_from < to && from < lost_to) return true;
    }
    return false;
  }

 private:
  std::map<std::string, std::string, std::less<>> ranges_;
};

}  // namespace rw
