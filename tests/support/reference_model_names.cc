// The operations of the reference model that change names.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

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

int ReferenceModel::ApplyCreate(const Operation& operation, Change& change, ModelIno* created) {
  if (const int error = change.CheckNewName(operation.ino, operation.name)) return error;
  ModelIno ino = 0;
  ModelNode& node = change.Add(&ino);
  ModelNode& parent = change.Modify(operation.ino);
  parent.entries[operation.name] = ino;
  node.mode = operation.mode;
  node.uid = operation.caller.uid;
  node.gid = operation.caller.gid;
  node.rdev = operation.rdev;
  node.target = operation.data;
  node.nlink = 1;
  if (parent.mode & S_ISGID) {
    node.gid = parent.gid;
    if (node.is_dir()) node.mode |= S_ISGID;
  }
  if (node.is_dir()) {
    node.nlink = 2;
    node.parent = operation.ino;
    ++parent.nlink;
  }
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

int ReferenceModel::ApplyRename(const Operation& op, Change& change) {
  const bool exchange = op.flags == RENAME_EXCHANGE;
  if (op.flags != 0 && !exchange && op.flags != RENAME_NOREPLACE) return EINVAL;
  if (const int error = change.CheckParent(op.ino, op.name)) return error;
  if (const int error = change.CheckParent(op.other, op.other_name)) return error;
  const ModelIno moved = change.Entry(op.ino, op.name);
  const ModelIno target = change.Entry(op.other, op.other_name);
  if (moved == 0 || change.Get(op.other).nlink == 0) return ENOENT;
  if (op.flags == RENAME_NOREPLACE && target != 0) return EEXIST;
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
  return 0;
}

int ReferenceModel::ApplyLink(const Operation& operation, Change& change) {
  if (const int error = change.CheckNewName(operation.other, operation.other_name)) return error;
  const ModelNode& node = change.Get(operation.ino);
  if (node.is_dir()) return EPERM;
  if (node.nlink == 0) return ENOENT;
  ++change.Touch(operation.ino).nlink;
  change.Modify(operation.other).entries[operation.other_name] = operation.ino;
  return 0;
}

int ReferenceModel::ApplyForget(const Operation& operation, Change& change) {
  if (change.Get(operation.ino).nlink == 0) change.End(operation.ino);
  return 0;
}

}  // namespace rw::testing
