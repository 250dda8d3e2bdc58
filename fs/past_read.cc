#include "fs/past_read.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>

#include "fs/past.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr int kMaxSymlinks = 40;
constexpr size_t kReadBytes = 1 << 20;

// One step after the other, so that ".." of a symlink means what it means to the kernel.
class PathFollower {
 public:
  PathFollower(Volume& volume, const std::vector<std::string>& path)
      : volume_(volume), path_(path), ahead_(path.begin(), path.end()) {}

  InodeAttr Find() {
    Enter(kRootIno);
    while (!ahead_.empty()) {
      const std::string name = std::move(ahead_.front());
      ahead_.pop_front();
      if (!behind_.back().inode.is_dir()) Refuse(ENOTDIR, "a name in it is not a directory");
      if (name.empty() || name == ".") continue;
      if (name == "..") {
        if (behind_.size() == 1) Refuse(EXDEV, "a symlink leads out of the volume");
        behind_.pop_back();
        continue;
      }
      auto next = volume_.Lookup(behind_.back().ino, name);
      if (!next) Refuse(ENOENT, "there is no such file or directory then");
      if (next->inode.is_symlink()) {
        Follow(next->inode.target);
      } else {
        behind_.push_back(*std::move(next));
      }
    }
    return behind_.back();
  }

 private:
  void Enter(Ino ino) {
    auto inode = volume_.FindInode(ino);
    if (!inode) Refuse(EIO, "the volume has no root");
    behind_.push_back({ino, *std::move(inode)});
  }

  void Follow(std::string_view target) {
    if (++symlinks_ > kMaxSymlinks) Refuse(ELOOP, "symlinks lead in a circle");
    if (target.starts_with('/'))
      Refuse(EXDEV, "a symlink leads out of the volume, to " + Quoted(target));
    std::vector<std::string> names;
    while (!target.empty()) {
      const std::string_view name = target.substr(0, target.find('/'));
      target.remove_prefix(std::min(target.size(), name.size() + 1));
      names.emplace_back(name);
    }
    ahead_.insert(ahead_.begin(), names.begin(), names.end());
  }

  [[noreturn]] void Refuse(int error, const std::string& why) const {
    throw Refused(error, Quoted(JoinPath(path_)) + ": " + why);
  }

  Volume& volume_;
  const std::vector<std::string>& path_;
  std::deque<std::string> ahead_;
  std::vector<InodeAttr> behind_;  // from the root on
  int symlinks_ = 0;
};

std::optional<uint64_t> NextData(Volume& volume, Ino ino, uint64_t offset) {
  try {
    return volume.Seek(ino, offset, true);
  } catch (const Refused& refused) {
    if (refused.error() != ENXIO) throw;
    return std::nullopt;
  }
}

}  // namespace

InodeAttr FindFollowing(Volume& volume, const std::vector<std::string>& path) {
  return PathFollower(volume, path).Find();
}

InodeAttr FindFile(Volume& volume, const std::vector<std::string>& path) {
  InodeAttr found = FindFollowing(volume, path);
  if (found.inode.is_dir())
    throw Refused(EISDIR, Quoted(JoinPath(path)) + " is a directory; a file is needed");
  if (!found.inode.is_regular())
    throw Refused(EINVAL, Quoted(JoinPath(path)) + " is not a regular file and has no contents");
  return found;
}

bool Contains(Volume& volume, const InodeAttr& file, std::string_view text) {
  const bool in_holes = text.find('\0') != text.npos;  // it can only be there
  std::string window;
  for (uint64_t offset = 0; offset < file.inode.size;) {
    if (!in_holes) {
      const auto data = NextData(volume, file.ino, offset);
      if (!data) return false;
      if (*data > offset) window.clear();
      offset = *data;
    }
    // What may be the beginning of it stays.
    if (window.size() >= text.size()) window.erase(0, window.size() - (text.size() - 1));
    const size_t kept = window.size();
    window.resize(kept + kReadBytes);
    const size_t count = volume.Read(file.ino, offset, std::span(window).subspan(kept));
    window.resize(kept + count);
    if (memmem(window.data(), window.size(), text.data(), text.size()) != nullptr) return true;
    if (count == 0) return false;
    offset += count;
  }
  return false;
}

}  // namespace rw
