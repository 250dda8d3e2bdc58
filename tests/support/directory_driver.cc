#include "tests/support/directory_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <utility>

#include "tests/support/sparse_bytes.h"
#include "tests/support/twin.h"

namespace rw::testing {
namespace {

int ErrnoOf(int64_t result) { return result < 0 ? errno : 0; }

timespec ToTimespec(const std::optional<FileTime>& time, bool now) {
  if (now) return {0, UTIME_NOW};
  if (!time) return {0, UTIME_OMIT};
  return {time->seconds, time->nanoseconds};
}

Instant InstantOf(const struct stat& status) {
  return {static_cast<uint64_t>(status.st_ctim.tv_sec) * 1'000'000'000 +
          static_cast<uint64_t>(status.st_ctim.tv_nsec)};
}

std::string ProcPath(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

int Create(const std::string& path, const Operation& operation) {
  if (S_ISDIR(operation.mode)) return ErrnoOf(mkdir(path.c_str(), operation.mode & 07777));
  if (S_ISLNK(operation.mode)) return ErrnoOf(symlink(operation.data.c_str(), path.c_str()));
  if (!S_ISREG(operation.mode)) return ErrnoOf(mknod(path.c_str(), operation.mode, operation.rdev));
  const int fd = open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, operation.mode & 07777);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

}  // namespace

DirectoryDriver::~DirectoryDriver() {
  for (const auto& [ino, fd] : held_) close(fd);
}

std::string DirectoryDriver::Path(const ReferenceModel& model, ModelIno ino) const {
  return directory_ + model.PathOf(ino);
}

std::string DirectoryDriver::Path(const ReferenceModel& model, ModelIno parent,
                                  const std::string& name) const {
  return Path(model, parent) + "/" + name;
}

int DirectoryDriver::FdOf(ModelIno ino) const {
  const auto held = held_.find(ino);
  return held == held_.end() ? -1 : held->second;
}

std::string DirectoryDriver::Step(ReferenceModel& model, const Operation& operation,
                                  bool times_are_instants) {
  HoldVictim(model, operation);
  const int actual = Perform(model, operation);
  Instant at{model.instants().back().ns + 1};
  if (actual == 0 && times_are_instants && operation.kind != OperationKind::kForget) {
    at = ChangeTime(model, operation);
  }
  if (MayBeSplit(model, operation)) split_.insert(at);
  const size_t instants = model.instants().size();
  const Instant newest = model.instants().back();
  if (operation.kind == OperationKind::kLink && model.Find(operation.ino)->nlink == 0 &&
      unnamed_.count(operation.ino) == 0) {
    // The kernel's rule: what was unlinked gets no name again.
    return actual == 0 ? operation.Describe() + ": linked what was unlinked" : "";
  }
  ModelIno created = 0;
  const int expected = model.Apply(operation, at, &created);
  if (operation.kind == OperationKind::kLink && actual == 0) unnamed_.erase(operation.ino);
  if (unnamed_fd_ >= 0 && created != 0) {
    held_[created] = std::exchange(unnamed_fd_, -1);
    unnamed_.insert(created);
  }
  std::string problem;
  if (!SameOutcome(model, operation, expected, actual)) {
    problem = std::string(strerror(actual)) + ", expected " + strerror(expected);
  } else if (model.instants().size() > instants && at <= newest) {
    problem = "ctime " + std::to_string(at.ns) + " is not after that of the operation before";
  }
  ReleaseVictims(model, at);
  if (problem.empty()) return {};
  return operation.Describe() + ": " + problem;
}

bool DirectoryDriver::MayBeSplit(const ReferenceModel& model, const Operation& operation) {
  const ModelIno changed =
      operation.kind == OperationKind::kCopyRange ? operation.other : operation.ino;
  return operation.offset % kPageBytes + operation.data.size() > kPageBytes ||
         model.Find(changed)->xattrs.count("security.capability") != 0;
}

void DirectoryDriver::HoldVictim(const ReferenceModel& model, const Operation& operation) {
  ModelIno parent = operation.ino;
  std::string name = operation.name;
  if (operation.kind == OperationKind::kRename) {
    parent = operation.other;
    name = operation.other_name;
  } else if (operation.kind != OperationKind::kUnlink) {
    return;
  }
  const auto& entries = model.Find(parent)->entries;
  const auto victim = entries.find(name);
  if (victim == entries.end()) return;
  const ModelNode& node = *model.Find(victim->second);
  if (!node.is_regular() || node.nlink != 1 || held_.size() > 20) return;
  const int fd = open(Path(model, parent, name).c_str(), O_RDWR | O_CLOEXEC);
  if (fd >= 0) held_[victim->second] = fd;
}

void DirectoryDriver::ReleaseVictims(ReferenceModel& model, Instant at) {
  for (auto held = held_.begin(); held != held_.end();) {
    const ModelNode* node = model.Find(held->first);
    if (node != nullptr && node->nlink == 0) {
      ++held;
      continue;
    }
    close(held->second);
    held = held_.erase(held);
  }
  const auto unlinked = model.unlinked();
  for (const ModelIno ino : unlinked) {
    if (held_.count(ino) != 0) continue;
    Operation forget;
    forget.ino = ino;
    model.Apply(forget, at);
  }
}

Instant DirectoryDriver::ChangeTime(const ReferenceModel& model, const Operation& op) const {
  const ModelIno changed = op.kind == OperationKind::kCopyRange ? op.other : op.ino;
  std::string path;
  struct stat status;
  if (op.kind == OperationKind::kCreateUnnamed) {
    if (fstat(unnamed_fd_, &status) != 0) return {};
    return InstantOf(status);
  }
  if (op.kind == OperationKind::kCreate) {
    path = Path(model, op.ino, op.name);
  } else if (op.kind == OperationKind::kRename) {
    path = Path(model, op.other, op.other_name);
  } else if (model.Find(changed)->nlink > 0) {
    path = Path(model, changed);
  }
  if ((path.empty() ? fstat(FdOf(changed), &status) : lstat(path.c_str(), &status)) != 0) return {};
  return InstantOf(status);
}

int DirectoryDriver::Perform(const ReferenceModel& model, const Operation& op) {
  const int fd = FdOf(op.ino);
  const bool unlinked = model.Find(op.ino)->nlink == 0;
  switch (op.kind) {
    case OperationKind::kCreate:
    case OperationKind::kCreateUnnamed:
      return CreateIn(model, op);
    case OperationKind::kUnlink:
      return ErrnoOf(unlink(Path(model, op.ino, op.name).c_str()));
    case OperationKind::kRmdir:
      return ErrnoOf(rmdir(Path(model, op.ino, op.name).c_str()));
    case OperationKind::kRename:
      return ErrnoOf(renameat2(AT_FDCWD, Path(model, op.ino, op.name).c_str(), AT_FDCWD,
                               Path(model, op.other, op.other_name).c_str(),
                               static_cast<unsigned>(op.flags)));
    case OperationKind::kLink: {
      const std::string to = Path(model, op.other, op.other_name);
      if (unlinked) {
        return ErrnoOf(
            linkat(AT_FDCWD, ProcPath(fd).c_str(), AT_FDCWD, to.c_str(), AT_SYMLINK_FOLLOW));
      }
      return ErrnoOf(linkat(AT_FDCWD, Path(model, op.ino).c_str(), AT_FDCWD, to.c_str(), 0));
    }
    case OperationKind::kSetAttr:
      if (!op.change.size) return SetAttr(Path(model, op.ino), unlinked ? fd : -1, op.change);
      return WithFile(model, op);
    case OperationKind::kWrite:
    case OperationKind::kFallocate:
      return WithFile(model, op);
    case OperationKind::kCopyRange:
      return CopyRange(model, op);
    case OperationKind::kSetXattr:
      return unlinked
                 ? ErrnoOf(fsetxattr(fd, op.name.c_str(), op.data.data(), op.data.size(), op.flags))
                 : ErrnoOf(lsetxattr(Path(model, op.ino).c_str(), op.name.c_str(), op.data.data(),
                                     op.data.size(), op.flags));
    case OperationKind::kRemoveXattr:
      return unlinked ? ErrnoOf(fremovexattr(fd, op.name.c_str()))
                      : ErrnoOf(lremovexattr(Path(model, op.ino).c_str(), op.name.c_str()));
    case OperationKind::kForget:
      if (unlinked) {
        close(fd);
        held_.erase(op.ino);
      }
      return 0;
  }
  return ENOSYS;
}

int DirectoryDriver::CreateIn(const ReferenceModel& model, const Operation& op) {
  umask(op.caller.umask);
  int error = 0;
  if (op.kind == OperationKind::kCreate) {
    error = Create(Path(model, op.ino, op.name), op);
  } else {
    unnamed_fd_ =
        open(Path(model, op.ino).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, op.mode & 07777);
    error = ErrnoOf(unnamed_fd_);
  }
  umask(0);
  return error;
}

int DirectoryDriver::SetAttr(const std::string& path, int fd, const AttrChange& change) {
  if (change.mode) {
    return ErrnoOf(fd >= 0 ? fchmod(fd, *change.mode) : chmod(path.c_str(), *change.mode));
  }
  if (change.uid || change.gid) {
    const uid_t uid = change.uid.value_or(static_cast<uid_t>(-1));
    const gid_t gid = change.gid.value_or(static_cast<gid_t>(-1));
    return ErrnoOf(fd >= 0 ? fchown(fd, uid, gid) : lchown(path.c_str(), uid, gid));
  }
  const timespec times[2] = {ToTimespec(change.atime, change.atime_now),
                             ToTimespec(change.mtime, change.mtime_now)};
  return ErrnoOf(fd >= 0 ? futimens(fd, times)
                         : utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW));
}

int DirectoryDriver::WithFile(const ReferenceModel& model, const Operation& op) {
  const ModelNode& node = *model.Find(op.ino);
  if (!node.is_regular()) return node.is_dir() ? EISDIR : EINVAL;
  const bool unlinked = node.nlink == 0;
  // Truncation goes in three ways, since the kernel asks for it in three ways.
  if (op.change.size == 0u && !unlinked && op.caller.unique % 4 == 0) {
    const int opened = open(Path(model, op.ino).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (opened < 0) return errno;
    close(opened);
    return 0;
  }
  if (op.change.size && !unlinked && *op.change.size % 2 == 0) {
    return ErrnoOf(truncate(Path(model, op.ino).c_str(), static_cast<off_t>(*op.change.size)));
  }
  const int fd = unlinked ? FdOf(op.ino) : open(Path(model, op.ino).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = 0;
  if (op.change.size) {
    error = ErrnoOf(ftruncate(fd, static_cast<off_t>(*op.change.size)));
  } else if (op.kind == OperationKind::kFallocate) {
    error = ErrnoOf(
        fallocate(fd, op.flags, static_cast<off_t>(op.offset), static_cast<off_t>(op.length)));
  } else {
    const ssize_t written =
        pwrite(fd, op.data.data(), op.data.size(), static_cast<off_t>(op.offset));
    error = written == static_cast<ssize_t>(op.data.size()) ? 0 : ErrnoOf(-1);
  }
  if (!unlinked) close(fd);
  return error;
}

int DirectoryDriver::CopyRange(const ReferenceModel& model, const Operation& op) {
  for (const ModelIno ino : {op.ino, op.other}) {
    const ModelNode& node = *model.Find(ino);
    if (!node.is_regular()) return node.is_dir() ? EISDIR : EINVAL;
  }
  const auto open_file = [&](ModelIno ino) {
    return model.Find(ino)->nlink == 0 ? dup(FdOf(ino))
                                       : open(Path(model, ino).c_str(), O_RDWR | O_CLOEXEC);
  };
  const int from = open_file(op.ino);
  const int to = open_file(op.other);
  auto from_offset = static_cast<off_t>(op.offset);
  auto to_offset = static_cast<off_t>(op.other_offset);
  const ssize_t copied = copy_file_range(from, &from_offset, to, &to_offset, op.length, 0);
  const int error = ErrnoOf(copied);
  close(from);
  close(to);
  return error;
}

}  // namespace rw::testing
