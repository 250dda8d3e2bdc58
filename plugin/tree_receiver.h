// Puts what arrives as frames into a volume.
//
// Whoever sends may be lying. A path is a walk through the volume's own names, from its root, by
// Volume::Lookup: no path of it ever meets the host's filesystem, and none goes through a symlink.
// What is refused is refused in one line that names the path; the volume is then to be discarded.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/volume.h"
#include "plugin/tree_stream.h"

namespace rw {

// Not thread-safe.
class TreeReceiver {
 public:
  // `need_room` is called before more is written, with the bytes written so far; throws
  // Refused(ENOSPC) if that must not be.
  TreeReceiver(Volume* volume, std::function<void(uint64_t written)> need_room)
      : volume_(volume), need_room_(std::move(need_room)) {}

  // Any frame but Start, Failed and End. Throws Refused.
  void Take(const Frame& frame);
  // After the last frame: what had to wait for everything else.
  void Finish();

  uint64_t nodes() const { return nodes_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t foreign_xattrs() const { return foreign_xattrs_; }  // of kinds that are not kept

 private:
  struct LateAttributes {  // of a directory: what is made in it would change or inherit these
    Ino ino;
    FileTime atime, mtime;
    std::string default_acl;
  };

  void TakeNode(std::string_view payload);
  void TakeXattr(std::string_view payload);
  void TakeData(std::string_view payload);
  void TakeLink(std::string_view payload);
  void EndNode();
  // Where a path's last name is to be, with the directories before it.
  std::pair<Ino, std::string> Place(const std::string& path);
  Ino NeedDirectory(Ino parent, const std::string& name);
  // What is in the way of a new `name` goes, but for a directory that a directory takes the place
  // of, which is returned.
  std::optional<Ino> MakeWay(Ino parent, const std::string& name, bool for_directory);
  void SetXattr(const std::string& name, const std::string& value);

  Volume* volume_;
  std::function<void(uint64_t)> need_room_;
  std::optional<StreamNode> node_;  // under way
  Ino ino_ = 0;
  std::string current_;  // the path under way, for messages
  std::vector<std::pair<std::string, std::string>> xattrs_;
  size_t xattr_bytes_ = 0;
  std::pair<std::string, Ino> last_directory_;  // where the last path led
  std::vector<LateAttributes> late_;
  uint64_t nodes_ = 0, bytes_ = 0, foreign_xattrs_ = 0;
};

}  // namespace rw
