// CollectTree of a volume, through the library.
#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/sparse_bytes.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

// Small and odd, so that every directory of some size takes several calls.
constexpr size_t kReadDirLimit = 7;

class Collector {
 public:
  explicit Collector(Volume& volume) : volume_(volume) {}

  CollectedTree Run() {
    const auto root = volume_.FindInode(kRootIno);
    if (!root.has_value() || !root->is_dir()) {
      out_.problems.push_back("/: there is no root directory");
      return std::move(out_);
    }
    Visit("/", kRootIno, *root);
    LinkNames(out_);
    return std::move(out_);
  }

 private:
  void Problem(const std::string& path, const std::string& what) {
    out_.problems.push_back(path + ": " + what);
  }

  void Visit(const std::string& path, Ino ino, const Inode& inode) {
    TreeNode& node = out_.tree[path];
    out_.inos[path] = ino;
    node.mode = inode.mode;
    node.uid = inode.uid;
    node.gid = inode.gid;
    node.nlink = inode.nlink;
    node.rdev = inode.rdev;
    node.size = inode.is_dir() ? 0 : inode.size;
    node.target = inode.target;
    node.atime = inode.atime;
    node.mtime = inode.mtime;
    node.ctime = inode.ctime;
    ReadXattrs(path, ino, node);
    if (inode.is_regular()) {
      node.content_hash = ReadContents(path, ino, inode);
      if (counted_.insert(ino).second) out_.allocated += inode.allocated;
    }
    if (inode.is_symlink() && inode.size != inode.target.size()) {
      Problem(path, "size of a symlink is not the length of its target");
    }
    if (inode.is_dir()) VisitEntries(path, ino, inode);
  }

  void ReadXattrs(const std::string& path, Ino ino, TreeNode& node) {
    for (const std::string& name : volume_.ListXattrs(ino)) {
      const auto value = volume_.GetXattr(ino, name);
      if (!value.has_value()) Problem(path, "xattr " + name + " is listed but not there");
      if (!node.xattrs.emplace(name, value.value_or("")).second) {
        Problem(path, "xattr " + name + " is listed twice");
      }
    }
  }

  void VisitEntries(const std::string& path, Ino ino, const Inode& inode) {
    uint64_t cookie = 0;
    uint64_t entries = 0;
    uint32_t subdirectories = 0;
    std::set<std::string> names;
    for (;;) {
      const auto part = volume_.ReadDir(ino, cookie, kReadDirLimit);
      if (part.size() > kReadDirLimit) Problem(path, "ReadDir returns more than was asked for");
      for (const DirEntry& entry : part) {
        if (entry.cookie <= std::max(cookie, kFirstCookie))
          Problem(path, "cookies do not increase");
        cookie = std::max(cookie, entry.cookie);
        if (!names.insert(entry.name).second) Problem(path, "lists " + entry.name + " twice");
        ++entries;
        VisitEntry(path, ino, entry, subdirectories);
      }
      if (part.empty()) break;
    }
    if (inode.size != entries) {
      Problem(path, "says " + std::to_string(inode.size) + " entries but lists " +
                        std::to_string(entries));
    }
    if (inode.nlink != 2 + subdirectories) {
      Problem(path, "nlink " + std::to_string(inode.nlink) + " with " +
                        std::to_string(subdirectories) + " subdirectories");
    }
  }

  void VisitEntry(const std::string& parent_path, Ino parent, const DirEntry& entry,
                  uint32_t& subdirectories) {
    const std::string path = (parent_path == "/" ? "/" : parent_path + "/") + entry.name;
    const auto found = volume_.Lookup(parent, entry.name);
    if (!found.has_value()) return Problem(path, "is listed but Lookup does not find it");
    if (found->ino != entry.ino) Problem(path, "Lookup and ReadDir name different inodes");
    if ((found->inode.mode & S_IFMT) != entry.type) Problem(path, "ReadDir says another type");
    const auto inode = volume_.FindInode(found->ino);
    if (!inode.has_value()) return Problem(path, "FindInode does not find it");
    if (!(*inode == found->inode)) Problem(path, "Lookup and FindInode disagree");
    if (inode->is_dir()) {
      ++subdirectories;
      if (inode->parent != parent) Problem(path, "names another parent");
      if (!directories_.insert(entry.ino).second) return Problem(path, "has two names or a cycle");
    }
    Visit(path, entry.ino, *inode);
  }

  uint64_t ReadContents(const std::string& path, Ino ino, const Inode& inode) {
    const uint64_t size = inode.size;
    std::string bytes(size + 10, '#');
    const size_t got = volume_.Read(ino, 0, bytes);
    if (got != size) Problem(path, "Read returns " + std::to_string(got) + " bytes");
    bytes.resize(size);
    CheckSeek(path, ino, inode.allocated, bytes);
    ContentHasher hasher;
    hasher.AddAll(bytes);
    return hasher.hash();
  }

  // Everything that Seek calls a hole must be zeros; data and holes alternate up to the end. What
  // is not a hole is what counts as allocated.
  void CheckSeek(const std::string& path, Ino ino, uint64_t allocated, const std::string& bytes) {
    uint64_t at = 0;
    uint64_t data_bytes = 0;
    while (at < bytes.size()) {
      uint64_t data = bytes.size();
      try {
        data = volume_.Seek(ino, at, true);
      } catch (const Refused& refused) {
        if (refused.error() != ENXIO) Problem(path, std::string("Seek: ") + refused.what());
      }
      if (data < at || data > bytes.size()) return Problem(path, "Seek data leaves the file");
      if (!AllZero(std::span(bytes).subspan(at, data - at))) {
        return Problem(path, "Seek calls data a hole, from " + std::to_string(at));
      }
      if (data == bytes.size()) break;
      at = volume_.Seek(ino, data, false);
      if (at <= data || at > bytes.size()) return Problem(path, "Seek hole finds no end of data");
      data_bytes += at - data;
    }
    if (data_bytes != allocated) {
      Problem(path, "says " + std::to_string(allocated) + " bytes are allocated, Seek finds " +
                        std::to_string(data_bytes));
    }
  }

  Volume& volume_;
  CollectedTree out_;
  std::set<Ino> directories_{kRootIno};
  std::set<Ino> counted_;  // files whose bytes are in `allocated`
};

}  // namespace

CollectedTree CollectTree(Volume& volume) { return Collector(volume).Run(); }

}  // namespace rw::testing
