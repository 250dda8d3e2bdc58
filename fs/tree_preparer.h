// Makes a copy of a tree of a view where nobody sees it: inodes, names and xattrs anew, contents
// shared. As many operations as it takes, each for some inodes.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "fs/view_volume.h"

namespace rw {

// Not thread-safe. Memory is bounded but for inodes with several names, which are remembered.
class TreePreparer {
 public:
  // `directory`: of ViewVolume::BeginPreparing. `step` is called before each operation and may
  // throw; `make_room` as Store's.
  TreePreparer(ViewVolume* head, ViewVolume* source, ViewVolume::SharedSource shared,
               std::function<void()> step, std::function<bool()> make_room);

  // Of the source's inode, with all that is in it. `name` must be new in `parent`.
  void AddTree(Ino parent, const std::string& name, Ino source_ino);
  // An empty directory, with what the source's has; returns its number.
  Ino AddDirectory(Ino parent, const std::string& name, Ino source_ino);
  Ino AddPlainDirectory(Ino parent, const std::string& name);

  uint64_t inodes() const { return inodes_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Directory {
    Ino source = 0, made = 0;
    uint64_t after = kFirstCookie;
  };

  // Returns the number at once for directories only.
  void Add(Ino parent, const std::string& name, Ino source_ino, std::vector<Directory>* found);
  void AddSome(Directory* directory, std::vector<Directory>* found, bool* ended);
  ViewVolume::Prepared Describe(Ino parent, const std::string& name, Ino source_ino,
                                const Inode& inode);
  void Flush(std::vector<Directory>* found);
  void ShareRest(Ino source_ino, Ino made, uint64_t from);
  void CopyChunk(Ino source_ino, Ino made, uint64_t chunk);
  void Do(const std::function<void()>& operation);

  ViewVolume* const head_;
  ViewVolume* const source_;
  const ViewVolume::SharedSource shared_;
  const std::function<void()> step_;
  const std::function<bool()> make_room_;
  std::vector<ViewVolume::Prepared> batch_;
  std::vector<Ino> batch_sources_;
  uint64_t batch_chunks_ = 0;
  std::unordered_map<Ino, Ino> linked_;  // of inodes with several names: what was made of them
  uint64_t inodes_ = 0, bytes_ = 0;
};

}  // namespace rw
