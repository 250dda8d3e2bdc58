#include "tests/support/twin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <set>
#include <sstream>

#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/sparse_bytes.h"
#include "tests/support/tree.h"

namespace rw::testing {
namespace {

std::string ErrnoText(int error) {
  return error == 0 ? "success" : std::string(strerrorname_np(error));
}

void CheckReturned(Volume& volume, Ino ino, const Inode& returned, std::string* problem) {
  const auto there = volume.FindInode(ino);
  if (!there.has_value() || !(*there == returned)) {
    *problem = "the inode returned is not the one that is there";
  }
}

void Perform(Volume& volume, const InoMap& inos, const Operation& op, Ino* created,
             std::string* problem) {
  const Ino ino = inos.at(op.ino);
  const Ino other = op.other == 0 ? 0 : inos.at(op.other);
  switch (op.kind) {
    case OperationKind::kCreate: {
      const InodeAttr made = volume.Create(op.caller, ino, op.name, op.mode, op.rdev, op.data);
      *created = made.ino;
      return CheckReturned(volume, made.ino, made.inode, problem);
    }
    case OperationKind::kCreateUnnamed: {
      const InodeAttr made = volume.CreateUnnamed(op.caller, ino, op.mode);
      *created = made.ino;
      return CheckReturned(volume, made.ino, made.inode, problem);
    }
    case OperationKind::kUnlink:
      return volume.Unlink(op.caller, ino, op.name);
    case OperationKind::kRmdir:
      return volume.Rmdir(op.caller, ino, op.name);
    case OperationKind::kRename:
      volume.Rename(op.caller, ino, op.name, other, op.other_name, static_cast<unsigned>(op.flags));
      *created = FindCreated(volume, inos, op).value_or(0);
      return;
    case OperationKind::kLink: {
      const InodeAttr linked = volume.Link(op.caller, ino, other, op.other_name);
      if (linked.ino != ino) *problem = "link returns another inode";
      return CheckReturned(volume, ino, linked.inode, problem);
    }
    case OperationKind::kSetAttr:
      return CheckReturned(volume, ino, volume.SetAttr(op.caller, ino, op.change), problem);
    case OperationKind::kWrite:
      return volume.Write(op.caller, ino, op.offset, op.data, op.kill_suid_sgid);
    case OperationKind::kFallocate:
      return volume.Fallocate(op.caller, ino, op.flags, op.offset, op.length);
    case OperationKind::kCopyRange: {
      const auto source = volume.FindInode(ino);
      const uint64_t rest = source->size - std::min(source->size, op.offset);
      const uint64_t copied =
          volume.CopyRange(op.caller, ino, op.offset, other, op.other_offset, op.length);
      if (copied != std::min(rest, op.length)) *problem = "copied another number of bytes";
      return;
    }
    case OperationKind::kSetXattr:
      return volume.SetXattr(op.caller, ino, op.name, op.data, op.flags, op.kill_suid_sgid);
    case OperationKind::kRemoveXattr:
      return volume.RemoveXattr(op.caller, ino, op.name);
    case OperationKind::kForget:
      return volume.Forget(ino);
  }
}

bool NeedsRegularFile(const Operation& operation) {
  return operation.kind == OperationKind::kWrite || operation.kind == OperationKind::kFallocate ||
         operation.kind == OperationKind::kCopyRange ||
         (operation.kind == OperationKind::kSetAttr && operation.change.size.has_value());
}

}  // namespace

std::optional<Ino> FindCreated(Volume& volume, const InoMap& inos, const Operation& operation) {
  std::optional<InodeAttr> found;
  if (operation.kind == OperationKind::kCreate ||
      (operation.kind == OperationKind::kRename && (operation.flags & RENAME_WHITEOUT) != 0)) {
    found = volume.Lookup(inos.at(operation.ino), operation.name);
  } else if (operation.kind == OperationKind::kCreateUnnamed) {
    Ino newest = kRootIno;
    for (const auto& [model, ino] : inos) newest = std::max(newest, ino);
    if (volume.FindInode(newest + 1)) return newest + 1;
  }
  if (!found) return std::nullopt;
  return found->ino;
}

int ApplyToVolume(Volume& volume, const InoMap& inos, const Operation& operation, Ino* created,
                  std::string* problem) {
  try {
    Perform(volume, inos, operation, created, problem);
    return 0;
  } catch (const Refused& refused) {
    return refused.error();
  }
}

bool SameOutcome(const ReferenceModel& model, const Operation& operation, int expected,
                 int actual) {
  if (expected == actual) return true;
  // To write nothing is done nothing for, whatever it is written to.
  if (operation.kind == OperationKind::kWrite && operation.data.empty()) return true;
  if (expected == 0 || actual == 0) return false;
  // The kernel never lets these through, so which errno the library chooses is its own affair.
  if (NeedsRegularFile(operation)) {
    const ModelNode* other = operation.other == 0 ? nullptr : model.Find(operation.other);
    return !model.Find(operation.ino)->is_regular() || (other != nullptr && !other->is_regular());
  }
  if (operation.kind == OperationKind::kLink) {
    return model.Find(operation.ino)->is_dir();
  }
  if (operation.kind == OperationKind::kRename) return expected == ENOTEMPTY && actual == EISDIR;
  return false;
}

std::string Twin::Step(const Operation& operation) {
  const Instant before = volume->last_instant();
  Ino created = 0;
  ModelIno model_created = 0;
  std::string problem;
  const int actual = ApplyToVolume(*volume, inos, operation, &created, &problem);
  Instant at = volume->last_instant();
  if (actual != 0 && at != before) problem = "a refused operation took an instant";
  // Nothing that can be seen changes, so the product may do without an instant.
  if (operation.kind == OperationKind::kForget && at == before) ++at.ns;
  const size_t instants = model.instants().size();
  const int expected = model.Apply(operation, at, &model_created);
  if (!SameOutcome(model, operation, expected, actual)) {
    problem = ErrnoText(actual) + ", expected " + ErrnoText(expected);
  }
  if (model.instants().size() > instants && at <= before) problem = "instants do not increase";
  if (model_created != 0) inos[model_created] = created;
  if (problem.empty()) return {};
  return name + ": " + operation.Describe() + ": " + problem;
}

std::string Twin::Follow(const Operation& operation, Instant before, int actual, Ino created) {
  Instant at = volume->last_instant();
  if (operation.kind == OperationKind::kForget && at == before) ++at.ns;
  ModelIno model_created = 0;
  const int expected = model.Apply(operation, at, &model_created);
  if (model_created != 0) inos[model_created] = created;
  if (SameOutcome(model, operation, expected, actual)) return {};
  return operation.Describe() + ": errno " + std::to_string(actual) + ", expected " +
         std::to_string(expected);
}

std::string Twin::CheckRandomRead(Random& random) const {
  const ModelIno ino = random.PickFrom(model.live());
  const ModelNode& node = *model.Find(ino);
  if (!node.is_regular()) return {};
  const uint64_t offset = random.Below(node.content->size() + 2);
  const uint64_t length = random.OneIn(3) ? random.Below(400'000) : random.Below(5000);
  const std::string expected = node.content->Read(offset, length);
  std::string actual(length, '#');
  actual.resize(volume->Read(inos.at(ino), offset, actual));
  if (actual == expected) return {};
  std::ostringstream out;
  out << name << ": reading #" << ino << " of size " << node.content->size() << " at " << offset
      << "+" << length << ": " << actual.size() << " bytes, expected " << expected.size();
  for (size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    if (actual[i] == expected[i]) continue;
    out << "; first difference at " << offset + i;
    break;
  }
  return out.str();
}

std::string Twin::CheckView(Volume& view, Instant at) const {
  const CollectedTree collected = CollectTree(view);
  const Tree expected = model.TreeAt(at);
  std::string text = collected.ProblemText() + Difference(expected, collected.tree);
  if (text.empty()) text = CheckUnlinked(view, at);
  if (text.empty()) text = CheckUsage(view, at, collected);
  if (text.empty()) return {};
  return name + " at " + FormatInstant(at) + " (" + std::to_string(at.ns) + "):\n" + text;
}

std::string Twin::CheckUnlinked(Volume& view, Instant at) const {
  for (const ModelIno ino : model.UnlinkedAt(at)) {
    const ModelNode& node = *model.FindAt(ino, at);
    const std::string who = "  unlinked #" + std::to_string(ino);
    const auto inode = view.FindInode(inos.at(ino));
    if (!inode.has_value()) return who + " is not there\n";
    if (inode->mode != node.mode || inode->nlink != 0 || !(inode->ctime == node.ctime)) {
      return who + " has other attributes\n";
    }
    if (!node.is_regular()) continue;
    std::string bytes(inode->size, '#');
    view.Read(inos.at(ino), 0, bytes);
    ContentHasher hasher;
    hasher.AddAll(bytes);
    if (bytes.size() != node.content->size() || hasher.hash() != node.content->Hash()) {
      return who + " has other contents\n";
    }
  }
  return {};
}

std::string Twin::CheckUsage(Volume& view, Instant at, const CollectedTree& collected) const {
  uint64_t bytes = collected.allocated;
  std::set<Ino> all;
  for (const auto& [path, ino] : collected.inos) all.insert(ino);
  for (const ModelIno ino : model.UnlinkedAt(at)) {
    all.insert(inos.at(ino));
    if (model.FindAt(ino, at)->is_regular()) bytes += view.FindInode(inos.at(ino))->allocated;
  }
  const VolumeUsage usage = view.Usage();
  if (!exact_usage || (usage.live_bytes == bytes && usage.live_inodes == all.size())) return {};
  return "  counts " + std::to_string(usage.live_inodes) + " inodes and " +
         std::to_string(usage.live_bytes) + " bytes, has " + std::to_string(all.size()) + " and " +
         std::to_string(bytes) + "\n";
}

void Twin::ForgetAll() {
  const Instant before = volume->last_instant();
  volume->ForgetAll();
  Instant at = volume->last_instant();
  if (at == before) ++at.ns;
  model.ForgetAll(at);
}

}  // namespace rw::testing
