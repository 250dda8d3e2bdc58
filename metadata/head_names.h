// The names that are in a head's directories now, apart from their history: a directory through
// which millions of names have passed lists as fast as a new one.
#pragma once

#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "metadata/view.h"

namespace rw {

// Derived from what is committed to the index; a directory that came from a parent timeline is
// filled in when it is first listed. The caller keeps it apart from commits to the same timeline
// (its write lock).
class HeadNames {
 public:
  // `view` is the head's and must outlive this.
  HeadNames(Index* index, const View* view) : index_(index), view_(view) {}

  std::optional<ViewName> Find(Ino parent, std::string_view name);
  // As View::ListNames.
  std::vector<ViewName> List(Ino parent, uint64_t after, size_t limit);
  // Fills in a part of the directory; false when nothing is left to do and List is fast.
  bool FillSome(Ino dir, uint64_t* resume_after);
  bool complete(Ino dir);

 private:
  Index* index_;
  const View* view_;
  std::unordered_set<Ino> complete_;  // known to be; bounded
};

}  // namespace rw
