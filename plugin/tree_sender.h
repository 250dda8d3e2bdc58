// Sends what a view shows as frames, directories before what is in them.
//
// Holds no more than the way down to where it is, the numbers of the files that have several names,
// and one piece of data. The same view is always sent as the same bytes.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/volume.h"
#include "plugin/tree_stream.h"

namespace rw {

class TreeSender {
 public:
  // Each call passes a part of the stream; throws to end it.
  using Sink = std::function<void(std::string_view)>;

  // Both must outlive it. The volume must be a fixed view.
  TreeSender(Volume* volume, Sink sink) : volume_(volume), sink_(std::move(sink)) {}

  // Everything but the Start. Throws Refused(EIO), naming the path, where something is damaged, and
  // what the sink throws.
  void Send();

 private:
  struct Directory {
    Ino ino;
    size_t path_bytes;  // of path_, when it is at work in this one
    uint64_t after;
    std::vector<DirEntry> entries;
    size_t next = 0;
  };

  void Enter(Ino ino);
  void SendEntry(const DirEntry& entry);
  void SendNode(Ino ino, const Inode& inode);
  void SendXattrs(Ino ino);
  void SendRanges(Ino ino, uint64_t size);
  void SendContents(Ino ino, uint64_t size);
  template <typename Fn>
  void ForEachRange(Ino ino, uint64_t size, Fn fn);

  Volume* volume_;
  Sink sink_;
  std::string path_;
  std::vector<Directory> way_;
  std::unordered_map<Ino, uint32_t> names_left_;  // of files with several names
  std::string buffer_;
  uint64_t nodes_ = 0, links_ = 0, sockets_ = 0, bytes_ = 0;
};

}  // namespace rw
