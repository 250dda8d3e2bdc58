// The operations of the reference model that change names.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/support/reference_model_acl.h"
#include "tests/support/reference_model_change.h"

namespace rw::testing {

int ReferenceModel::Change::CheckParent(ModelIno dir, const std::string& name) const {
  if (!Get(dir).is_dir()) return ENOTDIR;
  return name.size() > kMaxNameBytes ? ENAMETOOLONG : 0;
}

int ReferenceModel::Change::CheckNewName(ModelIno dir, const std::string& name) const {
  if (const int error = CheckParent(dir, name)) return error;
  if (Get(dir).nlink == 0) return ENOENT;
  return Entry(dir, name) != 0 ? EEXIST : 0;
}

ModelIno ReferenceModel::Change::Entry(ModelIno dir, const std::string& name) const {
  const auto& entries = Get(dir).entries;
  const auto found = entries.find(name);
  return found == entries.end() ? 0 : found->second;
}

void ReferenceModel::Change::DropLink(ModelIno ino) {
  ModelNode& node = Touch(ino);
  node.nlink = node.is_dir() ? 0 : node.nlink - 1;
}

ModelNode& ReferenceModel::Change::AddIn(ModelIno parent_ino, const Operation& operation,
                                         uint32_t mode, ModelIno* ino) {
  ModelNode& node = Add(ino);
  const ModelNode& parent = Get(parent_ino);
  node.mode = mode;
  node.uid = operation.caller.uid;
  node.gid = parent.mode & S_ISGID ? parent.gid : operation.caller.gid;
  if (node.is_dir()) node.mode |= parent.mode & S_ISGID;
  if (node.is_symlink()) return node;
  const auto inherited = parent.xattrs.find(kModelDefaultAcl);
  if (inherited == parent.xattrs.end()) {
    node.mode &= ~operation.caller.umask;
    return node;
  }
  if (node.is_dir()) node.xattrs[kModelDefaultAcl] = inherited->second;
  const uint32_t granted = ModelAclMode(inherited->second) & node.mode;
  node.mode = (node.mode & ~uint32_t{0777}) | granted;
  if (!IsMinimalModelAcl(inherited->second))
    node.xattrs[kModelAccessAcl] = ChmodModelAcl(inherited->second, granted);
  return node;
}

int ReferenceModel::ApplyCreate(const Operation& operation, Change& change, ModelIno* created) {
  if (const int error = change.CheckNewName(operation.ino, operation.name)) return error;
  ModelIno ino = 0;
  ModelNode& node = change.AddIn(operation.ino, operation, operation.mode, &ino);
  ModelNode& parent = change.Modify(operation.ino);
  parent.entries[operation.name] = ino;
  node.rdev = operation.rdev;
  node.target = operation.data;
  node.nlink = 1;
  if (node.is_dir()) {
    node.nlink = 2;
    node.parent = operation.ino;
    ++parent.nlink;
  }
  if (created != nullptr) *created = ino;
  return 0;
}

int ReferenceModel::ApplyCreateUnnamed(const Operation& operation, Change& change,
                                       ModelIno* created) {
  if (!change.Get(operation.ino).is_dir()) return ENOTDIR;
  if (change.Get(operation.ino).nlink == 0) return ENOENT;
  ModelIno ino = 0;
  change.AddIn(operation.ino, operation, S_IFREG | operation.mode, &ino);
  if (created != nullptr) *created = ino;
  return 0;
}

int ReferenceModel::ApplyUnlink(const Operation& operation, Change& change) {
  if (const int error = change.CheckParent(operation.ino, operation.name)) return error;
  const ModelIno ino = change.Entry(operation.ino, operation.name);
  if (ino == 0) return ENOENT;
  if (change.Get(ino).is_dir()) return EISDIR;
  change.Modify(operation.ino).entries.erase(operation.name);
  change.DropLink(ino);
  return 0;
}

int ReferenceModel::ApplyRmdir(const Operation& operation, Change& change) {
  if (const int error = change.CheckParent(operation.ino, operation.name)) return error;
  const ModelIno ino = change.Entry(operation.ino, operation.name);
  if (ino == 0) return ENOENT;
  if (!change.Get(ino).is_dir()) return ENOTDIR;
  if (!change.Get(ino).entries.empty()) return ENOTEMPTY;
  ModelNode& parent = change.Modify(operation.ino);
  parent.entries.erase(operation.name);
  --parent.nlink;
  change.DropLink(ino);
  return 0;
}

bool ReferenceModel::IsInside(ModelIno directory, ModelIno ancestor) const {
  for (ModelIno at = directory; at != 0; at = Find(at)->parent) {
    if (at == ancestor) return true;
    if (at == kModelRoot || Find(at)->nlink == 0) return false;
  }
  return false;
}

int ReferenceModel::ApplyRename(const Operation& op, Change& change, ModelIno* created) {
  const bool exchange = op.flags == RENAME_EXCHANGE;
  if (!exchange && (op.flags & ~(RENAME_NOREPLACE | RENAME_WHITEOUT)) != 0) return EINVAL;
  if (const int error = change.CheckParent(op.ino, op.name)) return error;
  if (const int error = change.CheckParent(op.other, op.other_name)) return error;
  const ModelIno moved = change.Entry(op.ino, op.name);
  const ModelIno target = change.Entry(op.other, op.other_name);
  if (moved == 0 || change.Get(op.other).nlink == 0) return ENOENT;
  if ((op.flags & RENAME_NOREPLACE) && target != 0) return EEXIST;
  if (exchange && target == 0) return ENOENT;
  if (IsInside(op.other, moved)) return EINVAL;
  if (target != 0 && IsInside(op.ino, target)) return exchange ? EINVAL : ENOTEMPTY;
  if (moved == target) return 0;
  const bool moved_dir = change.Get(moved).is_dir();
  const bool target_dir = target != 0 && change.Get(target).is_dir();
  if (target != 0 && !exchange) {
    if (moved_dir && !target_dir) return ENOTDIR;
    if (!moved_dir && target_dir) return EISDIR;
    if (target_dir && !change.Get(target).entries.empty()) return ENOTEMPTY;
  }
  ModelNode& from = change.Modify(op.ino);
  ModelNode& to = change.Modify(op.other);
  from.entries.erase(op.name);
  to.entries[op.other_name] = moved;
  if (moved_dir) --from.nlink, ++to.nlink;
  if (target_dir) --to.nlink;
  ModelNode& moved_node = change.Touch(moved);
  if (moved_dir) moved_node.parent = op.other;
  if (exchange) {
    from.entries[op.name] = target;
    ModelNode& target_node = change.Touch(target);
    if (target_dir) ++from.nlink, target_node.parent = op.ino;
  } else if (target != 0) {
    change.DropLink(target);
  }
  if (op.flags & RENAME_WHITEOUT) {
    ModelIno left = 0;
    change.AddIn(op.ino, op, S_IFCHR, &left).nlink = 1;
    from.entries[op.name] = left;
    if (created != nullptr) *created = left;
  }
  return 0;
}

int ReferenceModel::ApplyLink(const Operation& operation, Change& change) {
  if (const int error = change.CheckNewName(operation.other, operation.other_name)) return error;
  if (change.Get(operation.ino).is_dir()) return EPERM;
  ++change.Touch(operation.ino).nlink;
  change.Modify(operation.other).entries[operation.other_name] = operation.ino;
  return 0;
}

int ReferenceModel::ApplyForget(const Operation& operation, Change& change) {
  if (change.Get(operation.ino).nlink == 0) change.End(operation.ino);
  return 0;
}

}  // namespace rw::testing
