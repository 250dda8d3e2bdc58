#include "tests/support/operation.h"

#include <sstream>

namespace rw::testing {
namespace {

const char* KindName(OperationKind kind) {
  switch (kind) {
    case OperationKind::kCreate:
      return "create";
    case OperationKind::kCreateUnnamed:
      return "create_unnamed";
    case OperationKind::kUnlink:
      return "unlink";
    case OperationKind::kRmdir:
      return "rmdir";
    case OperationKind::kRename:
      return "rename";
    case OperationKind::kLink:
      return "link";
    case OperationKind::kSetAttr:
      return "setattr";
    case OperationKind::kWrite:
      return "write";
    case OperationKind::kFallocate:
      return "fallocate";
    case OperationKind::kCopyRange:
      return "copy_range";
    case OperationKind::kSetXattr:
      return "setxattr";
    case OperationKind::kRemoveXattr:
      return "removexattr";
    case OperationKind::kForget:
      return "forget";
  }
  return "?";
}

void DescribeChange(const AttrChange& change, std::ostringstream& out) {
  if (change.mode) out << " mode=0" << std::oct << *change.mode << std::dec;
  if (change.uid) out << " uid=" << *change.uid;
  if (change.gid) out << " gid=" << *change.gid;
  if (change.size) out << " size=" << *change.size;
  if (change.atime) out << " atime=" << change.atime->seconds;
  if (change.mtime) out << " mtime=" << change.mtime->seconds;
  if (change.atime_now) out << " atime=now";
  if (change.mtime_now) out << " mtime=now";
  if (change.kill_suid_sgid) out << " kill";
}

}  // namespace

std::string Operation::Describe() const {
  std::ostringstream out;
  out << KindName(kind) << " #" << ino;
  if (!name.empty()) out << " '" << name.substr(0, 24) << "'";
  if (other != 0) out << " -> #" << other;
  if (!other_name.empty()) out << " '" << other_name.substr(0, 24) << "'";
  if (mode != 0) out << " mode=0" << std::oct << mode << std::dec;
  if (caller.umask != 0) out << " umask=0" << std::oct << caller.umask << std::dec;
  if (flags != 0) out << " flags=" << flags;
  if (offset != 0) out << " offset=" << offset;
  if (other_offset != 0) out << " other_offset=" << other_offset;
  if (length != 0) out << " length=" << length;
  if (!data.empty()) out << " " << data.size() << " bytes";
  if (kill_suid_sgid) out << " kill";
  DescribeChange(change, out);
  return out.str();
}

}  // namespace rw::testing
