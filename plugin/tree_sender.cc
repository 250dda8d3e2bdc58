#include "plugin/tree_sender.h"

#include <sys/stat.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kEntriesAtOnce = 512;

}  // namespace

void TreeSender::Send() {
  try {
    const auto root = volume_->FindInode(kRootIno);
    if (!root) throw Refused(EIO, "the volume has no root");
    SendNode(kRootIno, *root);
    Enter(kRootIno);
    while (!way_.empty()) {
      Directory& dir = way_.back();
      path_.resize(dir.path_bytes);
      if (dir.next == dir.entries.size()) {
        dir.entries = volume_->ReadDir(dir.ino, dir.after, kEntriesAtOnce);
        dir.next = 0;
        if (dir.entries.empty()) {
          way_.pop_back();
          continue;
        }
        dir.after = dir.entries.back().cookie;
      }
      SendEntry(dir.entries[dir.next++]);
    }
  } catch (const Refused& refused) {
    if (refused.error() != EIO) throw;
    throw Refused(EIO, Quoted("/" + path_) + ": " + refused.what());
  }
  const nlohmann::json end = {
      {"Nodes", nodes_}, {"Links", links_}, {"Sockets", sockets_}, {"Bytes", bytes_}};
  sink_(EncodeFrame(FrameKind::kEnd, end.dump()));
}

void TreeSender::Enter(Ino ino) { way_.push_back({ino, path_.size(), 0, {}, 0}); }

void TreeSender::SendEntry(const DirEntry& entry) {
  if (!path_.empty()) path_ += '/';
  path_ += entry.name;
  const auto inode = volume_->FindInode(entry.ino);
  if (!inode) throw Refused(EIO, "its inode is missing");
  if (S_ISSOCK(inode->mode)) {  // archives have no such thing
    ++sockets_;
    return;
  }
  if (!inode->is_dir() && inode->nlink > 1) {
    const auto [found, first] = names_left_.emplace(entry.ino, inode->nlink);
    if (--found->second == 0) names_left_.erase(found);
    if (!first) {
      ++links_;
      sink_(EncodeLink({path_, entry.ino, ""}));
      return;
    }
  }
  SendNode(entry.ino, *inode);
  if (inode->is_dir()) Enter(entry.ino);
}

void TreeSender::SendNode(Ino ino, const Inode& inode) {
  ++nodes_;
  StreamNode node;
  node.path = path_;
  node.mode = inode.mode;
  node.uid = inode.uid;
  node.gid = inode.gid;
  node.rdev = inode.rdev;
  node.size = inode.is_regular() ? inode.size : 0;
  node.atime = inode.atime;
  node.mtime = inode.mtime;
  node.target = inode.target;
  node.ino = !inode.is_dir() && inode.nlink > 1 ? ino : 0;
  sink_(EncodeNode(node));
  SendXattrs(ino);
  if (!inode.is_regular() || inode.size == 0) return;
  SendRanges(ino, inode.size);
  SendContents(ino, inode.size);
}

void TreeSender::SendXattrs(Ino ino) {
  for (const std::string& name : volume_->ListXattrs(ino)) {
    if (const auto value = volume_->GetXattr(ino, name)) sink_(EncodeXattr(name, *value));
  }
}

template <typename Fn>
void TreeSender::ForEachRange(Ino ino, uint64_t size, Fn fn) {
  uint64_t offset = 0;
  while (offset < size) {
    try {
      offset = volume_->Seek(ino, offset, true);
    } catch (const Refused& refused) {
      if (refused.error() != ENXIO) throw;
      return;
    }
    const uint64_t end = volume_->Seek(ino, offset, false);
    fn(offset, end - offset);
    offset = end;
  }
}

void TreeSender::SendRanges(Ino ino, uint64_t size) {
  std::vector<Range> ranges;
  const auto send = [&] {
    if (!ranges.empty()) sink_(EncodeRanges(ranges));
    ranges.clear();
  };
  ForEachRange(ino, size, [&](uint64_t offset, uint64_t length) {
    ranges.emplace_back(offset, length);
    if (ranges.size() == kMaxRanges) send();
  });
  send();
}

void TreeSender::SendContents(Ino ino, uint64_t size) {
  ForEachRange(ino, size, [&](uint64_t offset, uint64_t length) {
    while (length > 0) {
      const size_t wanted = std::min<uint64_t>(length, kMaxDataBytes);
      buffer_.resize(wanted);
      if (volume_->Read(ino, offset, buffer_) != wanted)
        throw Refused(EIO, "it is shorter than it says");
      sink_(EncodeDataHead(offset, wanted));
      sink_(buffer_);
      bytes_ += wanted;
      offset += wanted;
      length -= wanted;
    }
  });
}

}  // namespace rw
