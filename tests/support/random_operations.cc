#include "tests/support/random_operations.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>

#include "tests/support/reference_model_acl.h"

namespace rw::testing {
namespace {

constexpr uint64_t kChunkBytes = 128 * 1024;
constexpr uint64_t kFarBytes = 3 * 1024 * 1024;
constexpr size_t kMaxUnnamed = 12;  // each is a descriptor, through a mount
const char kCapabilityName[] = "security.capability";
// As the kernel checks it: revision 2, CAP_NET_RAW permitted.
const std::string kCapability =
    std::string("\x00\x00\x00\x02\x00\x20\x00\x00", 8) + std::string(12, '\0');

uint64_t SizeOf(const ReferenceModel& model, ModelIno ino) {
  return model.Find(ino)->content->size();
}

}  // namespace

Operation RandomOperations::Next(const ReferenceModel& model) {
  Operation operation;
  operation.kind = DrawKind(model);
  operation.caller.unique = unique_ += 2;
  if (!profile_.through_mount) {
    const uint32_t owners[] = {0, 33, 1000};
    operation.caller.uid = random_.Pick(owners);
    operation.caller.gid = random_.Pick(owners);
    operation.caller.pid = 4711;
  }
  const uint32_t umasks[] = {0, 022, 027, 077, 0777};
  operation.caller.umask = random_.Pick(umasks);
  switch (operation.kind) {
    case OperationKind::kCreate:
      DrawCreate(model, operation);
      break;
    case OperationKind::kCreateUnnamed:
      operation.ino = DrawParent(model);
      operation.mode = static_cast<uint32_t>(random_.Below(01000));
      break;
    case OperationKind::kUnlink:
    case OperationKind::kRmdir:
      operation.ino = DrawParent(model);
      operation.name = DrawName(model, operation.ino, 85);
      break;
    case OperationKind::kRename:
      DrawRename(model, operation);
      break;
    case OperationKind::kLink:
      operation.ino = DrawInode(model);
      operation.other = DrawParent(model);
      operation.other_name = DrawName(model, operation.other, 20);
      break;
    case OperationKind::kSetAttr:
      DrawSetAttr(model, operation);
      break;
    case OperationKind::kWrite:
      DrawWrite(model, operation);
      break;
    case OperationKind::kFallocate:
      DrawFallocate(model, operation);
      break;
    case OperationKind::kCopyRange:
      DrawCopyRange(model, operation);
      break;
    case OperationKind::kSetXattr:
    case OperationKind::kRemoveXattr:
      DrawXattr(model, operation);
      break;
    case OperationKind::kForget:
      operation.ino = random_.PickFrom(model.unlinked().empty() ? model.live() : model.unlinked());
      break;
  }
  return operation;
}

OperationKind RandomOperations::DrawKind(const ReferenceModel& model) {
  const bool full = model.live().size() > profile_.max_inodes;
  const bool contents = random_.Percent(profile_.percent_contents);
  const uint64_t draw = contents ? 50 + random_.Below(42) : random_.Below(100);
  if (draw < 18) {
    if (draw == 17 && model.unlinked().size() < kMaxUnnamed) return OperationKind::kCreateUnnamed;
    if (!full) return OperationKind::kCreate;
    return random_.OneIn(4) ? OperationKind::kRmdir : OperationKind::kUnlink;
  }
  if (draw < 28) return OperationKind::kUnlink;
  if (draw < 32) return OperationKind::kRmdir;
  if (draw < 44) return OperationKind::kRename;
  if (draw < 49) return OperationKind::kLink;
  if (draw < 62) return OperationKind::kSetAttr;
  if (draw < 84) return OperationKind::kWrite;
  if (draw < 88) return OperationKind::kFallocate;
  if (draw < 92) return OperationKind::kCopyRange;
  if (draw < 96) return OperationKind::kSetXattr;
  if (draw < 98) return OperationKind::kRemoveXattr;
  if (profile_.through_mount && model.unlinked().empty()) return OperationKind::kWrite;
  return OperationKind::kForget;
}

ModelIno RandomOperations::DrawParent(const ReferenceModel& model) {
  const bool any = random_.OneIn(25);
  for (;;) {
    const ModelIno ino = random_.PickFrom(any ? model.live() : model.directories());
    // A path cannot lead into what is unlinked, and would follow a symlink.
    const ModelNode& node = *model.Find(ino);
    if (!profile_.through_mount || (node.nlink > 0 && !node.is_symlink())) return ino;
  }
}

ModelIno RandomOperations::DrawInode(const ReferenceModel& model) {
  for (;;) {
    const ModelIno ino = random_.PickFrom(model.live());
    if (!profile_.through_mount || model.Find(ino)->nlink > 0 || random_.OneIn(2)) return ino;
  }
}

ModelIno RandomOperations::DrawFile(const ReferenceModel& model) {
  // Few tries, since there may be no regular file; then whatever comes is refused or, by path, made
  // a no-op.
  ModelIno ino = kModelRoot;
  for (int tries = 0; tries < 40; ++tries) {
    ino = random_.PickFrom(model.live());
    if (model.Find(ino)->is_regular()) break;
    if (!profile_.through_mount && random_.OneIn(60)) break;
  }
  return ino;
}

std::string RandomOperations::DrawName(const ReferenceModel& model, ModelIno directory,
                                       uint64_t percent_existing) {
  const auto& entries = model.Find(directory)->entries;
  if (!entries.empty() && random_.Percent(percent_existing)) return random_.PickFrom(entries).first;
  if (random_.OneIn(200)) return std::string(kMaxNameBytes, 'L');
  if (random_.OneIn(60)) return "\xe5\x90\x8d \xc3\xbc\n'\"";
  return std::string(1 + random_.Below(3), static_cast<char>('a' + random_.Below(8)));
}

std::string RandomOperations::DrawXattrName(const ReferenceModel& model, ModelIno ino) {
  const ModelNode& node = *model.Find(ino);
  if (node.is_regular() && random_.OneIn(5)) return kCapabilityName;
  const bool user = (node.is_regular() || node.is_dir()) && random_.OneIn(2);
  const char* const names[] = {"a", "b", "c.d", "long-name-of-an-attribute-to-see-that-it-is-kept"};
  const char* space = user ? "user." : random_.OneIn(4) ? "security." : "trusted.";
  return space + std::string(random_.Pick(names));
}

uint64_t RandomOperations::DrawOffset(uint64_t size) {
  const uint64_t draw = random_.Below(100);
  if (draw < 35) return random_.Below(size + 1);
  if (draw < 55) return size;
  if (draw < 75) {
    const uint64_t boundary = kChunkBytes * random_.Below(4);
    return boundary - std::min(boundary, random_.Below(5000));
  }
  if (draw < 95) return 4096 * random_.Below(100);
  return size + random_.Below(400'000);
}

uint64_t RandomOperations::DrawLength() {
  const uint64_t draw = random_.Below(100);
  if (draw < 50) return 1 + random_.Below(600);
  if (draw < 80) return 1 + random_.Below(9000);
  if (draw < 95) return 1 + random_.Below(std::min<uint64_t>(70'000, profile_.max_write));
  return 1 + random_.Below(profile_.max_write);
}

FileTime RandomOperations::DrawTime() {
  // The ends of what a volume keeps. Kernels may cut off more than that.
  if (!profile_.through_mount && random_.OneIn(8))
    return {random_.OneIn(2) ? INT64_MIN : INT64_MAX, 999'999'999};
  const int64_t seconds[] = {-1'000'000'000, -1, 0, 1, 1'234'567'890, 5'000'000'000};
  const uint32_t nanoseconds[] = {0, 1, 123'456'789, 999'999'999};
  return {random_.Pick(seconds), random_.Pick(nanoseconds)};
}

void RandomOperations::DrawCreate(const ReferenceModel& model, Operation& operation) {
  operation.ino = DrawParent(model);
  operation.name = DrawName(model, operation.ino, 8);
  if (random_.OneIn(300)) operation.name = std::string(kMaxNameBytes + 1, 'x');
  const uint32_t permissions[] = {0644, 0755, 0600, 02775, 04755, 02755, 06777, 01777, 0};
  operation.mode = random_.Pick(permissions);
  const uint64_t draw = random_.Below(100);
  if (draw < 62) {
    operation.mode |= S_IFREG;
  } else if (draw < 82) {
    // mkdir(2) takes no setuid and setgid bits.
    if (profile_.through_mount) operation.mode &= 01777;
    operation.mode |= S_IFDIR;
  } else if (draw < 92) {
    operation.mode = S_IFLNK | 0777;
    operation.data = random_.OneIn(20) ? std::string(4000, 't') : "target/" + operation.name;
  } else if (draw < 95) {
    operation.mode |= random_.OneIn(2) ? S_IFIFO : S_IFSOCK;
  } else {
    operation.mode |= random_.OneIn(2) ? S_IFCHR : S_IFBLK;
    operation.rdev = static_cast<uint32_t>(makedev(1 + random_.Below(200), random_.Below(200)));
  }
}

void RandomOperations::DrawRename(const ReferenceModel& model, Operation& operation) {
  operation.ino = DrawParent(model);
  operation.name = DrawName(model, operation.ino, 95);
  operation.other = random_.OneIn(3) ? operation.ino : DrawParent(model);
  operation.other_name = DrawName(model, operation.other, 45);
  const uint64_t draw = random_.Below(100);
  if (draw >= 68) operation.flags = draw < 80 ? RENAME_NOREPLACE : RENAME_EXCHANGE;
  if (draw >= 90) operation.flags = RENAME_WHITEOUT;
  if (draw >= 94) operation.flags = RENAME_WHITEOUT | RENAME_NOREPLACE;
  if (draw >= 98)
    operation.flags = RENAME_EXCHANGE | random_.Pick({RENAME_NOREPLACE, RENAME_WHITEOUT});
}

void RandomOperations::DrawSetAttr(const ReferenceModel& model, Operation& operation) {
  AttrChange& change = operation.change;
  operation.ino = DrawInode(model);
  const uint64_t draw = random_.Below(100);
  if (draw < 50) {
    operation.ino = DrawFile(model);
    const uint64_t size = SizeOf(model, operation.ino);
    const uint64_t sizes[] = {0,
                              size,
                              random_.Below(size + 1),
                              size + random_.Below(9000),
                              kChunkBytes * random_.Below(3),
                              size / 2};
    // A little less, a little more, most of the time: cuts pile up then.
    const uint64_t less = std::min(size, random_.Below(300));
    change.size = size - less + random_.Below(150);
    if (random_.OneIn(3)) change.size = random_.Pick(sizes);
    if (random_.OneIn(50)) change.size = random_.Below(kFarBytes);
    change.kill_suid_sgid = !profile_.through_mount && random_.OneIn(4);
  } else if (draw < 65 && !model.Find(operation.ino)->is_symlink()) {
    const uint32_t permissions[] = {0644, 0755, 06711, 02755, 02745, 04700, 01777, 0};
    change.mode = random_.Pick(permissions);
  } else if (draw < 82) {
    const uint32_t owners[] = {0, 33, 1000, 4'000'000'000};
    if (!random_.OneIn(3)) change.uid = random_.Pick(owners);
    if (!change.uid || random_.OneIn(2)) change.gid = random_.Pick(owners);
  } else {
    const uint64_t which = random_.Below(3);
    if (which != 0)
      random_.OneIn(3) ? void(change.atime_now = true) : void(change.atime = DrawTime());
    if (which != 1)
      random_.OneIn(3) ? void(change.mtime_now = true) : void(change.mtime = DrawTime());
  }
}

void RandomOperations::DrawWrite(const ReferenceModel& model, Operation& operation) {
  operation.ino = DrawFile(model);
  operation.offset = DrawOffset(SizeOf(model, operation.ino));
  const uint64_t length = random_.OneIn(100) ? 0 : DrawLength();
  operation.data = random_.OneIn(12) ? std::string(length, '\0') : random_.Bytes(length);
  if (profile_.through_mount) return;
  operation.kill_suid_sgid = random_.OneIn(4);
  if (random_.OneIn(150)) operation.offset = kMaxFileSize - random_.Below(length + 1);
  // Writes that fit below the limit would make files that are too large to look at.
  if (operation.offset > kFarBytes * 4 && operation.offset + length <= kMaxFileSize) {
    operation.offset = 0;
  }
}

void RandomOperations::DrawFallocate(const ReferenceModel& model, Operation& operation) {
  operation.ino = DrawFile(model);
  const uint64_t size = SizeOf(model, operation.ino);
  operation.offset = random_.OneIn(2) ? DrawOffset(size) : 4096 * random_.Below(1 + size / 4096);
  operation.length = random_.OneIn(3) ? kChunkBytes * (1 + random_.Below(2)) : DrawLength();
  const int modes[] = {0,
                       FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       FALLOC_FL_ZERO_RANGE,
                       FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
  operation.flags = random_.Pick(modes);
  if (!profile_.through_mount && random_.OneIn(40)) operation.flags = FALLOC_FL_COLLAPSE_RANGE;
}

void RandomOperations::DrawCopyRange(const ReferenceModel& model, Operation& operation) {
  operation.ino = DrawFile(model);
  operation.other = random_.OneIn(4) ? operation.ino : DrawFile(model);
  operation.offset = random_.Below(SizeOf(model, operation.ino) + 100);
  operation.other_offset = DrawOffset(SizeOf(model, operation.other));
  operation.length = DrawLength();
}

void RandomOperations::DrawXattr(const ReferenceModel& model, Operation& operation) {
  operation.ino = DrawInode(model);
  operation.name = DrawXattrName(model, operation.ino);
  if (random_.OneIn(3)) return DrawAcl(model, operation);
  if (operation.kind == OperationKind::kRemoveXattr) {
    const auto& there = model.Find(operation.ino)->xattrs;
    if (!there.empty() && random_.Percent(80)) operation.name = random_.PickFrom(there).first;
    return;
  }
  operation.data = random_.Bytes(random_.Below(random_.OneIn(10) ? profile_.max_xattr : 60));
  if (operation.name == kCapabilityName) operation.data = kCapability;
  const int flags[] = {0, 0, 0, XATTR_CREATE, XATTR_REPLACE};
  operation.flags = random_.Pick(flags);
}

void RandomOperations::DrawAcl(const ReferenceModel& model, Operation& operation) {
  if (random_.OneIn(2)) operation.ino = random_.PickFrom(model.directories());
  if (profile_.through_mount && model.Find(operation.ino)->nlink == 0) operation.ino = kModelRoot;
  operation.name = random_.OneIn(2) ? kModelAccessAcl : kModelDefaultAcl;
  operation.kill_suid_sgid = !profile_.through_mount && random_.OneIn(4);
  if (operation.kind == OperationKind::kRemoveXattr) return;
  const auto permissions = [&] { return static_cast<uint16_t>(random_.Below(8)); };
  std::vector<ModelAclEntry> entries = {{1, permissions()}};
  const bool named = !random_.OneIn(4);
  for (uint32_t id = 33; named && id < 36; ++id) {
    if (random_.OneIn(2)) entries.push_back({2, permissions(), id});
  }
  entries.push_back({4, permissions()});
  if (named && random_.OneIn(2)) entries.push_back({8, permissions(), 1000});
  if (named) entries.push_back({16, permissions()});
  entries.push_back({32, permissions()});
  if (random_.OneIn(12)) std::swap(entries.front(), entries.back());
  if (random_.OneIn(12))
    entries.erase(entries.begin() + static_cast<ptrdiff_t>(random_.Below(entries.size())));
  operation.data = EncodeModelAcl(entries);
}

}  // namespace rw::testing
