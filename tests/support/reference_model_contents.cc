// The operations of the reference model that change contents and attributes.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>

#include "tests/support/reference_model_acl.h"
#include "tests/support/reference_model_change.h"

namespace rw::testing {
namespace {

// errno of an operation that needs a regular file.
int CheckRegular(const ModelNode& node) {
  if (node.is_dir()) return EISDIR;
  return node.is_regular() ? 0 : EINVAL;
}

void KillSuidSgid(ModelNode& node) {
  node.mode &= ~static_cast<uint32_t>(S_ISUID);
  if (node.mode & S_IXGRP) node.mode &= ~static_cast<uint32_t>(S_ISGID);
}

// A change of contents or owner takes a file's capabilities away, whoever makes it.
void DropCapability(ModelNode& node) { node.xattrs.erase("security.capability"); }

template <typename Edit>
void EditContent(ModelNode& node, const Edit& edit) {
  DropCapability(node);
  auto content = std::make_shared<SparseBytes>(*node.content);
  edit(*content);
  node.content = std::move(content);
}

}  // namespace

int ReferenceModel::ApplySetAttr(const Operation& operation, Change& change) {
  const AttrChange& attr = operation.change;
  if (attr.size) {
    if (const int error = CheckRegular(change.Get(operation.ino))) return error;
  }
  ModelNode& node = change.Touch(operation.ino);
  if (attr.size) {
    EditContent(node, [&](SparseBytes& content) { content.Resize(*attr.size); });
    node.mtime = change.time();
    if (attr.kill_suid_sgid) KillSuidSgid(node);
  }
  if (attr.mode) {
    node.mode = (node.mode & S_IFMT) | (*attr.mode & 07777);
    const auto acl = node.xattrs.find(kModelAccessAcl);
    if (acl != node.xattrs.end()) acl->second = ChmodModelAcl(acl->second, *attr.mode);
  }
  if (attr.uid) node.uid = *attr.uid;
  if (attr.gid) node.gid = *attr.gid;
  if ((attr.uid || attr.gid) && !node.is_dir()) {
    KillSuidSgid(node);
    DropCapability(node);
  }
  if (attr.atime) node.atime = *attr.atime;
  if (attr.mtime) node.mtime = *attr.mtime;
  if (attr.atime_now) node.atime = change.time();
  if (attr.mtime_now) node.mtime = change.time();
  return 0;
}

int ReferenceModel::ApplyWrite(const Operation& operation, Change& change) {
  if (const int error = CheckRegular(change.Get(operation.ino))) return error;
  if (operation.data.empty()) return 0;
  if (operation.offset > kMaxFileSize - operation.data.size()) return EFBIG;
  ModelNode& node = change.Modify(operation.ino);
  EditContent(node, [&](SparseBytes& content) { content.Write(operation.offset, operation.data); });
  if (operation.kill_suid_sgid) KillSuidSgid(node);
  return 0;
}

int ReferenceModel::ApplyFallocate(const Operation& operation, Change& change) {
  if (const int error = CheckRegular(change.Get(operation.ino))) return error;
  const int mode = operation.flags;
  const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
  if (kind != 0 && kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE) return EOPNOTSUPP;
  if (kind == FALLOC_FL_PUNCH_HOLE && !keep_size) return EOPNOTSUPP;
  ModelNode& node = change.Modify(operation.ino);
  EditContent(node, [&](SparseBytes& content) {
    const uint64_t end = operation.offset + operation.length;
    if (!keep_size && end > content.size()) content.Resize(end);
    if (kind != 0) content.Zero(operation.offset, operation.length);
  });
  if (operation.caller.uid != 0) KillSuidSgid(node);
  return 0;
}

int ReferenceModel::ApplyCopyRange(const Operation& operation, Change& change) {
  if (const int error = CheckRegular(change.Get(operation.ino))) return error;
  if (const int error = CheckRegular(change.Get(operation.other))) return error;
  const std::string bytes =
      change.Get(operation.ino).content->Read(operation.offset, operation.length);
  if (operation.ino == operation.other &&
      operation.other_offset < operation.offset + bytes.size() &&
      operation.offset < operation.other_offset + bytes.size()) {
    return EINVAL;
  }
  if (bytes.empty()) return 0;
  ModelNode& node = change.Modify(operation.other);
  EditContent(node, [&](SparseBytes& content) { content.Write(operation.other_offset, bytes); });
  if (operation.caller.uid != 0) KillSuidSgid(node);
  return 0;
}

int ReferenceModel::ApplySetXattr(const Operation& operation, Change& change) {
  const bool there = change.Get(operation.ino).xattrs.count(operation.name) != 0;
  if (operation.flags == XATTR_CREATE && there) return EEXIST;
  if (operation.flags == XATTR_REPLACE && !there) return ENODATA;
  if (operation.name == kModelAccessAcl || operation.name == kModelDefaultAcl)
    return ApplySetAcl(operation, change);
  change.Touch(operation.ino).xattrs[operation.name] = operation.data;
  return 0;
}

int ReferenceModel::ApplySetAcl(const Operation& operation, Change& change) {
  if (change.Get(operation.ino).is_symlink()) return EOPNOTSUPP;
  const bool is_default = operation.name == kModelDefaultAcl;
  if (is_default && !change.Get(operation.ino).is_dir()) return EACCES;
  if (const int error = CheckModelAcl(operation.data)) return error;
  ModelNode& node = change.Touch(operation.ino);
  node.xattrs[operation.name] = operation.data;
  if (is_default) return 0;
  node.mode = (node.mode & ~uint32_t{0777}) | ModelAclMode(operation.data);
  if (operation.kill_suid_sgid) node.mode &= ~uint32_t{S_ISGID};
  if (IsMinimalModelAcl(operation.data)) node.xattrs.erase(operation.name);
  return 0;
}

int ReferenceModel::ApplyRemoveXattr(const Operation& operation, Change& change) {
  const ModelNode& node = change.Get(operation.ino);
  if (operation.name == kModelAccessAcl || operation.name == kModelDefaultAcl) {
    if (node.is_symlink()) return EOPNOTSUPP;
    if (node.xattrs.count(operation.name) == 0) return 0;
  }
  if (node.xattrs.count(operation.name) == 0) return ENODATA;
  change.Touch(operation.ino).xattrs.erase(operation.name);
  return 0;
}

}  // namespace rw::testing
