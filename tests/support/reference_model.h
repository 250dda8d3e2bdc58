// What a volume should be: a filesystem in memory that keeps every state that it was in. It shares
// no code and no idea of storage with the product: each inode is a list of whole versions, and the
// tree at T is the newest version of each at or before T.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/instant.h"
#include "tests/support/operation.h"
#include "tests/support/sparse_bytes.h"
#include "tests/support/tree.h"

namespace rw::testing {

struct ModelNode {
  uint32_t mode = 0, uid = 0, gid = 0, nlink = 0, rdev = 0;
  FileTime atime, mtime, ctime;
  std::string target;
  std::shared_ptr<const SparseBytes> content = std::make_shared<SparseBytes>();
  std::map<std::string, std::string> xattrs;
  std::map<std::string, ModelIno> entries;
  ModelIno parent = 0;  // of a directory

  bool is_dir() const { return (mode & 0170000) == 0040000; }
  bool is_regular() const { return (mode & 0170000) == 0100000; }
  bool is_symlink() const { return (mode & 0170000) == 0120000; }
};

// Not thread safe. Copies share the versions.
class ReferenceModel {
 public:
  // An empty volume. `root` gives what the product is free to choose: mode, owner and times.
  ReferenceModel(Instant created, const Inode& root);
  // A volume made at `created` from the tree of `source` at `at`.
  static ReferenceModel CloneOf(const ReferenceModel& source, Instant at, Instant created);

  // Does the operation as the one of instant `at`, later than all before. Returns 0, or the errno
  // it is refused with; a refused operation changes nothing. `created`, if not null, gets the
  // number of a new inode.
  int Apply(const Operation& operation, Instant at, ModelIno* created = nullptr);

  // From `since` on the volume is what it was at `to`. Unlinked inodes are gone.
  void RollBack(Instant to, Instant since);
  // Unlinked inodes are gone.
  void ForgetAll(Instant at);
  // The newest version of the root gets what is left to the product to decide, or was asked for
  // with options.
  void AdoptRoot(const Inode& root);

  // --- the newest state ---
  // Null if there is no such inode now.
  const ModelNode* Find(ModelIno ino) const { return FindAt(ino, kInstantMax); }
  // All inodes there are, unlinked ones that are still open included.
  const std::set<ModelIno>& live() const { return live_; }
  const std::set<ModelIno>& directories() const { return directories_; }  // also removed ones
  const std::set<ModelIno>& unlinked() const { return unlinked_; }
  // One of the paths of the inode, from "/"; empty if it has none.
  std::string PathOf(ModelIno ino) const;

  // --- any state ---
  const ModelNode* FindAt(ModelIno ino, Instant at) const;
  std::vector<ModelIno> UnlinkedAt(Instant at) const;
  Tree TreeAt(Instant at) const;

  // Instants at which something changed, oldest first; the first is the creation.
  const std::vector<Instant>& instants() const { return instants_; }

 private:
  struct Version {
    Instant at;
    std::shared_ptr<const ModelNode> node;  // null: gone
  };
  // Changes of one operation, committed at the end if it is not refused.
  class Change;

  int ApplyCreate(const Operation& operation, Change& change, ModelIno* created);
  int ApplyCreateUnnamed(const Operation& operation, Change& change, ModelIno* created);
  int ApplyUnlink(const Operation& operation, Change& change);
  int ApplyRmdir(const Operation& operation, Change& change);
  int ApplyRename(const Operation& operation, Change& change, ModelIno* created);
  int ApplyLink(const Operation& operation, Change& change);
  int ApplySetAttr(const Operation& operation, Change& change);
  int ApplyWrite(const Operation& operation, Change& change);
  int ApplyFallocate(const Operation& operation, Change& change);
  int ApplyCopyRange(const Operation& operation, Change& change);
  int ApplySetXattr(const Operation& operation, Change& change);
  int ApplySetAcl(const Operation& operation, Change& change);
  int ApplyRemoveXattr(const Operation& operation, Change& change);
  int ApplyForget(const Operation& operation, Change& change);

  bool IsInside(ModelIno directory, ModelIno ancestor) const;
  void Push(ModelIno ino, Instant at, std::shared_ptr<const ModelNode> node);
  void AddPaths(const std::string& path, ModelIno ino, Instant at, CollectedTree& out) const;

  std::map<ModelIno, std::vector<Version>> versions_;
  std::set<ModelIno> live_, directories_, unlinked_;
  std::vector<Instant> instants_;
  ModelIno next_ino_ = kModelRoot + 1;
};

}  // namespace rw::testing
