// One operation on a volume as a plain value: what the random driver draws, and what the reference
// model, a volume and a mounted directory can each be asked to do.
#pragma once

#include <cstdint>
#include <string>

#include "fs/volume.h"

namespace rw::testing {

// The reference model numbers its inodes itself; the root is 1 and numbers are never reused.
using ModelIno = uint64_t;
inline constexpr ModelIno kModelRoot = 1;

enum class OperationKind {
  kCreate,
  kCreateUnnamed,
  kUnlink,
  kRmdir,
  kRename,
  kLink,
  kSetAttr,
  kWrite,
  kFallocate,
  kCopyRange,
  kSetXattr,
  kRemoveXattr,
  kForget,
};

// Fields that a kind does not use stay as they are here. The names are those of Volume's
// parameters.
struct Operation {
  OperationKind kind = OperationKind::kForget;
  Caller caller;
  ModelIno ino = 0;    // the parent for kCreate, kCreateUnnamed, kUnlink, kRmdir and kRename; the
                       // source for kCopyRange
  ModelIno other = 0;  // the new parent for kRename and kLink; the destination for kCopyRange
  std::string name;    // also of an xattr
  std::string other_name;
  std::string data;  // of a write, an xattr, or the target of a symlink
  uint32_t mode = 0;
  uint32_t rdev = 0;
  int flags = 0;  // of rename and setxattr; the mode of fallocate
  uint64_t offset = 0, other_offset = 0, length = 0;
  AttrChange change;
  bool kill_suid_sgid = false;

  // One line for failure messages; contents are shortened.
  std::string Describe() const;
};

}  // namespace rw::testing
