// What would be different if a tree of one view took the place of one of another.
#pragma once

#include "fs/restore.h"
#include "fs/view_volume.h"

namespace rw {

// Whether two files have their bytes at the same places, before `end`. Bytes that were written
// again count as others.
bool HaveSameData(const View& view_a, Ino ino_a, const Inode& a, const View& view_b, Ino ino_b,
                  const Inode& b, uint64_t end);

// Walks both trees at once, some names at a time; counts into `report` and tells the first changes.
// An inode of 0: there is nothing.
class TreeComparison {
 public:
  TreeComparison(ViewVolume* source, ViewVolume* present, RestoreReport* report,
                 std::function<void()> step)
      : source_(source), present_(present), report_(report), step_(std::move(step)) {}

  void Compare(const std::string& path, Ino source, Ino present);

 private:
  struct Pair {
    std::string path;
    Ino source = 0, present = 0;
  };
  class Names;

  void CompareInodes(const Pair& pair);
  void CompareNames(const Pair& pair);
  void Tell(RestoreChange::Kind kind, const std::string& path, const Inode& inode);
  bool SameContents(Ino source, const Inode& a, Ino present, const Inode& b);

  ViewVolume* const source_;
  ViewVolume* const present_;
  RestoreReport* const report_;
  const std::function<void()> step_;
  std::vector<Pair> open_;
};

}  // namespace rw
