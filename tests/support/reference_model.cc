#include "tests/support/reference_model.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>

#include "tests/support/reference_model_acl.h"
#include "tests/support/reference_model_change.h"

namespace rw::testing {

ReferenceModel::ReferenceModel(Instant created, const Inode& root) {
  auto node = std::make_shared<ModelNode>();
  node->mode = root.mode;
  node->uid = root.uid;
  node->gid = root.gid;
  node->nlink = 2;
  node->atime = root.atime;
  node->mtime = root.mtime;
  node->ctime = root.ctime;
  Push(kModelRoot, created, std::move(node));
  instants_.push_back(created);
}

ReferenceModel ReferenceModel::CloneOf(const ReferenceModel& source, Instant at, Instant created) {
  ReferenceModel clone = source;
  clone.instants_ = {created};
  clone.versions_.clear();
  clone.live_.clear();
  clone.directories_.clear();
  clone.unlinked_.clear();
  for (const auto& [ino, versions] : source.versions_) {
    const auto next = std::partition_point(versions.begin(), versions.end(),
                                           [at](const Version& v) { return v.at <= at; });
    if (next == versions.begin()) continue;
    const auto& node = std::prev(next)->node;
    if (node != nullptr && node->nlink > 0) clone.Push(ino, created, node);
  }
  return clone;
}

int ReferenceModel::Apply(const Operation& operation, Instant at, ModelIno* created) {
  Change change(*this, at);
  const auto apply = [&]() -> int {
    switch (operation.kind) {
      case OperationKind::kCreate:
        return ApplyCreate(operation, change, created);
      case OperationKind::kCreateUnnamed:
        return ApplyCreateUnnamed(operation, change, created);
      case OperationKind::kUnlink:
        return ApplyUnlink(operation, change);
      case OperationKind::kRmdir:
        return ApplyRmdir(operation, change);
      case OperationKind::kRename:
        return ApplyRename(operation, change, created);
      case OperationKind::kLink:
        return ApplyLink(operation, change);
      case OperationKind::kSetAttr:
        return ApplySetAttr(operation, change);
      case OperationKind::kWrite:
        return ApplyWrite(operation, change);
      case OperationKind::kFallocate:
        return ApplyFallocate(operation, change);
      case OperationKind::kCopyRange:
        return ApplyCopyRange(operation, change);
      case OperationKind::kSetXattr:
        return ApplySetXattr(operation, change);
      case OperationKind::kRemoveXattr:
        return ApplyRemoveXattr(operation, change);
      case OperationKind::kForget:
        return ApplyForget(operation, change);
    }
    return ENOSYS;
  };
  const int error = apply();
  if (error != 0 || change.nodes().empty()) return error;
  for (const auto& [ino, node] : change.nodes()) Push(ino, at, node);
  next_ino_ = change.next_ino();
  instants_.push_back(at);
  return 0;
}

void ReferenceModel::RollBack(Instant to, Instant since) {
  for (auto& [ino, versions] : versions_) {
    const auto next = std::partition_point(versions.begin(), versions.end(),
                                           [to](const Version& v) { return v.at <= to; });
    auto node = next == versions.begin() ? nullptr : std::prev(next)->node;
    if (node != nullptr && node->nlink == 0) node = nullptr;
    if (node != versions.back().node) Push(ino, since, std::move(node));
  }
  instants_.push_back(since);
}

void ReferenceModel::ForgetAll(Instant at) {
  const auto unlinked = unlinked_;
  for (const ModelIno ino : unlinked) Push(ino, at, nullptr);
}

void ReferenceModel::AdoptRoot(const Inode& root) {
  const Version& newest = versions_.at(kModelRoot).back();
  auto node = std::make_shared<ModelNode>(*newest.node);
  const auto acl = node->xattrs.find(kModelAccessAcl);
  if (acl != node->xattrs.end()) acl->second = ChmodModelAcl(acl->second, root.mode);
  node->mode = root.mode;
  node->uid = root.uid;
  node->gid = root.gid;
  node->ctime = root.ctime;
  Push(kModelRoot, newest.at, std::move(node));
}

void ReferenceModel::Push(ModelIno ino, Instant at, std::shared_ptr<const ModelNode> node) {
  live_.erase(ino);
  directories_.erase(ino);
  unlinked_.erase(ino);
  if (node != nullptr) {
    live_.insert(ino);
    if (node->is_dir()) directories_.insert(ino);
    if (node->nlink == 0) unlinked_.insert(ino);
  }
  auto& versions = versions_[ino];
  if (!versions.empty() && versions.back().at == at) {
    versions.back().node = std::move(node);
  } else {
    versions.push_back({at, std::move(node)});
  }
}

const ModelNode* ReferenceModel::FindAt(ModelIno ino, Instant at) const {
  const auto found = versions_.find(ino);
  if (found == versions_.end()) return nullptr;
  const auto& versions = found->second;
  if (versions.back().at <= at) return versions.back().node.get();
  const auto next = std::partition_point(versions.begin(), versions.end(),
                                         [at](const Version& v) { return v.at <= at; });
  return next == versions.begin() ? nullptr : std::prev(next)->node.get();
}

std::vector<ModelIno> ReferenceModel::UnlinkedAt(Instant at) const {
  std::vector<ModelIno> out;
  for (const auto& [ino, versions] : versions_) {
    const ModelNode* node = FindAt(ino, at);
    if (node != nullptr && node->nlink == 0) out.push_back(ino);
  }
  return out;
}

std::string ReferenceModel::PathOf(ModelIno ino) const {
  if (ino == kModelRoot) return "/";
  for (const ModelIno directory : directories_) {
    for (const auto& [name, entry] : Find(directory)->entries) {
      if (entry != ino) continue;
      const std::string parent = PathOf(directory);
      if (!parent.empty()) return (parent == "/" ? "/" : parent + "/") + name;
    }
  }
  return {};
}

void ReferenceModel::AddPaths(const std::string& path, ModelIno ino, Instant at,
                              CollectedTree& out) const {
  const ModelNode& node = *FindAt(ino, at);
  TreeNode& tree_node = out.tree[path];
  out.inos[path] = ino;
  tree_node = {.mode = node.mode,
               .uid = node.uid,
               .gid = node.gid,
               .nlink = node.nlink,
               .rdev = node.rdev,
               .size = node.is_regular() ? node.content->size() : node.target.size(),
               .content_hash = node.is_regular() ? node.content->Hash() : 0,
               .target = node.target,
               .xattrs = node.xattrs,
               .atime = node.atime,
               .mtime = node.mtime,
               .ctime = node.ctime,
               .same_as = {}};
  for (const auto& [name, entry] : node.entries) {
    AddPaths((path == "/" ? "/" : path + "/") + name, entry, at, out);
  }
}

Tree ReferenceModel::TreeAt(Instant at) const {
  CollectedTree out;
  AddPaths("/", kModelRoot, at, out);
  LinkNames(out);
  return std::move(out.tree);
}

}  // namespace rw::testing
