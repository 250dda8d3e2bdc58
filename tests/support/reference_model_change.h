// Private to the reference model: the changes of one operation before they become versions.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/support/reference_model.h"

namespace rw::testing {

class ReferenceModel::Change {
 public:
  Change(const ReferenceModel& model, Instant at)
      : model_(model), time_(rw::ToFileTime(at)), next_ino_(model.next_ino_) {}

  FileTime time() const { return time_; }
  bool Exists(ModelIno ino) const { return model_.Find(ino) != nullptr; }
  const ModelNode& Get(ModelIno ino) const {
    const auto changed = nodes_.find(ino);
    return changed != nodes_.end() ? *changed->second : *model_.Find(ino);
  }
  // The node to change; its ctime becomes the operation's instant.
  ModelNode& Touch(ModelIno ino) {
    auto& node = nodes_[ino];
    if (node == nullptr) node = std::make_shared<ModelNode>(*model_.Find(ino));
    node->ctime = time_;
    return *node;
  }
  // The same, and mtime too.
  ModelNode& Modify(ModelIno ino) {
    ModelNode& node = Touch(ino);
    node.mtime = time_;
    return node;
  }
  ModelNode& Add(ModelIno* ino) {
    *ino = next_ino_++;
    auto& node = nodes_[*ino] = std::make_shared<ModelNode>();
    node->atime = node->mtime = node->ctime = time_;
    return *node;
  }
  void End(ModelIno ino) { nodes_[ino] = nullptr; }

  const std::map<ModelIno, std::shared_ptr<ModelNode>>& nodes() const { return nodes_; }
  ModelIno next_ino() const { return next_ino_; }

  // 0 if a name can be looked up in `dir`.
  int CheckParent(ModelIno dir, const std::string& name) const;
  // 0 if, beyond that, a new name can be made in it.
  int CheckNewName(ModelIno dir, const std::string& name) const;
  // The inode of a name, or 0.
  ModelIno Entry(ModelIno dir, const std::string& name) const;
  // A new inode in `parent`, with all that it inherits; `ino` gets its number.
  ModelNode& AddIn(ModelIno parent, const Operation& operation, uint32_t mode, ModelIno* ino);
  void DropLink(ModelIno ino);  // one name of a non-directory went

 private:
  const ReferenceModel& model_;
  const FileTime time_;
  ModelIno next_ino_;
  std::map<ModelIno, std::shared_ptr<ModelNode>> nodes_;
};

}  // namespace rw::testing
