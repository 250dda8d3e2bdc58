// A directory tree as a plain value, so that trees from different places can be compared: from the
// reference model at an instant, from a volume through the library, and from a mounted directory.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "metadata/inode.h"

namespace rw {
class Volume;
}

namespace rw::testing {

struct TreeNode {
  uint32_t mode = 0, uid = 0, gid = 0, nlink = 0, rdev = 0;
  uint64_t size = 0;          // 0 for directories: every filesystem counts those in its own way
  uint64_t content_hash = 0;  // of a regular file: see ContentHasher
  std::string target;
  std::map<std::string, std::string> xattrs;
  FileTime atime, mtime, ctime;
  std::string same_as;  // the first path, in order, of those that are hard links of this inode
  friend bool operator==(const TreeNode&, const TreeNode&) = default;
};

using Tree = std::map<std::string, TreeNode>;  // by path; the root is "/"

// Empty if the trees are equal; else at most `limit` lines that say where and how `actual` differs.
std::string Difference(const Tree& expected, const Tree& actual, size_t limit = 6);

struct CollectedTree {
  Tree tree;
  std::map<std::string, Ino> inos;
  uint64_t allocated = 0;             // bytes of contents that are not holes; only from a volume
  std::vector<std::string> problems;  // what a full check found wrong; empty if the tree is sound

  std::string ProblemText() const;
};

// Reads everything and checks everything on the way: link counts are the numbers of names found,
// directories know how many entries they have and who their parent is, Lookup agrees with ReadDir,
// cookies increase, and Seek agrees with the contents.
CollectedTree CollectTree(Volume& volume);

// With system calls, without following symlinks. `inos` are st_ino.
CollectedTree CollectTree(const std::string& directory);

// Sets `same_as` of all nodes from `inos`, and reports inodes whose number of names is not `nlink`.
void LinkNames(CollectedTree& collected);

}  // namespace rw::testing
