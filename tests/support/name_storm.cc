#include "tests/support/name_storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <sstream>

namespace rw::testing {
namespace {

constexpr uint64_t kNames = 8;
constexpr size_t kMaxHeld = 6;
// What every call may return on a path of which others change the parts.
const std::set<int> kPathErrors = {ENOENT, ENOTDIR, ELOOP};
const std::set<int> kDeadErrors = {ENOTCONN, ECONNABORTED};

int ErrnoOf(int64_t result) { return result < 0 ? errno : 0; }

std::string ProcPath(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

}  // namespace

std::string ToText(const StormCounts& counts) {
  std::ostringstream out;
  for (const auto& [name, results] : counts) {
    for (const auto& [error, count] : results) out << name << ' ' << error << ' ' << count << '\n';
  }
  return out.str();
}

void AddText(const std::string& text, StormCounts& counts) {
  std::istringstream in(text);
  std::string name;
  int error = 0;
  for (uint64_t count = 0; in >> name >> error >> count;) counts[name][error] += count;
}

struct NameStorm::Kind {
  const char* name;
  uint64_t weight;
  int (NameStorm::*perform)();
  bool by_path;           // so that kPathErrors are allowed
  std::set<int> allowed;  // beside those
};

const std::vector<NameStorm::Kind>& NameStorm::Kinds() {
  // Opening may find a directory, a socket or a device (volumes are mounted nodev).
  static const std::vector<Kind> kinds = {
      {"create", 16, &NameStorm::Create, true, {EEXIST, EISDIR, ENXIO, EACCES}},
      {"mkdir", 12, &NameStorm::MakeDirectory, true, {EEXIST}},
      {"symlink", 4, &NameStorm::MakeSymlink, true, {EEXIST}},
      {"mknod", 4, &NameStorm::MakeNode, true, {EEXIST}},
      {"link", 8, &NameStorm::Link, true, {EEXIST, EPERM}},
      {"unlink", 9, &NameStorm::Unlink, true, {EISDIR}},
      {"rmdir", 4, &NameStorm::RemoveDirectory, true, {ENOTEMPTY}},
      {"rename", 8, &NameStorm::Rename, true, {EISDIR, ENOTEMPTY, EINVAL}},
      {"exchange", 4, &NameStorm::Exchange, true, {EINVAL}},
      {"noreplace", 3, &NameStorm::RenameNoReplace, true, {EEXIST, EINVAL}},
      {"whiteout", 2, &NameStorm::RenameWhiteout, true, {EISDIR, ENOTEMPTY, EINVAL}},
      {"tmpfile", 3, &NameStorm::MakeUnnamed, true, {EEXIST}},
      {"setxattr", 4, &NameStorm::SetXattr, true, {EEXIST, ENODATA, EPERM}},
      {"removexattr", 2, &NameStorm::RemoveXattr, true, {ENODATA, EPERM}},
      {"chmod", 3, &NameStorm::ChangeMode, true, {}},
      {"chown", 2, &NameStorm::ChangeOwner, true, {}},
      {"utimens", 2, &NameStorm::ChangeTimes, true, {}},
      {"truncate", 4, &NameStorm::Truncate, true, {EISDIR, EINVAL}},
      {"held", 12, &NameStorm::ChangeHeld, false, {}},
      {"copy", 2, &NameStorm::CopyHeld, false, {EINVAL}},
      {"readdir", 3, &NameStorm::List, true, {}},
      {"stat", 6, &NameStorm::Look, true, {EINVAL}},
  };
  return kinds;
}

NameStorm::NameStorm(std::string directory, uint64_t seed)
    : directory_(std::move(directory)), random_(seed) {}

NameStorm::~NameStorm() {
  for (const int fd : held_) close(fd);
}

std::string NameStorm::Step() {
  static const uint64_t total = [] {
    uint64_t sum = 0;
    for (const Kind& kind : Kinds()) sum += kind.weight;
    return sum;
  }();
  uint64_t draw = random_.Below(total);
  auto kind = Kinds().begin();
  for (; draw >= kind->weight; ++kind) draw -= kind->weight;
  const int error = (this->*kind->perform)();
  ++counts_[kind->name][error];
  if (kDeadErrors.contains(error)) {
    gone_ = true;
    return {};
  }
  if (!problem_.empty()) return what_ + ": " + problem_;
  const bool allowed =
      error == 0 || kind->allowed.contains(error) || (kind->by_path && kPathErrors.contains(error));
  return allowed ? "" : what_ + ": " + strerror(error);
}

std::string NameStorm::DrawPath() {
  std::string path;
  const uint64_t depth = 1 + random_.Below(3);
  for (uint64_t i = 0; i < depth; ++i) {
    // Directories are rather under the first names, or there would be no paths of some length.
    const uint64_t name = i + 1 < depth ? random_.Below(kNames / 2) : random_.Below(kNames);
    path += std::string("/") + static_cast<char>('a' + name);
  }
  return path;
}

std::string NameStorm::Target() {
  std::string path = DrawPath();
  what_ = path;
  return directory_ + path;
}

void NameStorm::Hold(int fd) {
  if (held_.size() < kMaxHeld) {
    held_.push_back(fd);
    return;
  }
  std::swap(fd, held_[random_.Below(held_.size())]);
  close(fd);
}

int NameStorm::Create() {
  const std::string path = Target();
  const int extra[] = {0, O_EXCL, O_TRUNC, O_NOFOLLOW};
  const int flags = random_.Pick(extra);
  what_ = "create " + what_ + " flags " + std::to_string(flags);
  const int fd = open(path.c_str(), O_CREAT | O_RDWR | O_NONBLOCK | O_CLOEXEC | flags, 0644);
  if (fd < 0) return errno;
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(fd);
    return 0;
  }
  Hold(fd);
  const std::string data = random_.Bytes(random_.Below(2000));
  return ErrnoOf(write(fd, data.data(), data.size()));
}

int NameStorm::MakeDirectory() {
  const std::string path = Target();
  what_ = "mkdir " + what_;
  const mode_t modes[] = {0755, 0700, 01777};
  return ErrnoOf(mkdir(path.c_str(), random_.Pick(modes)));
}

int NameStorm::MakeSymlink() {
  const std::string path = Target();
  what_ = "symlink " + what_;
  // Never "..": it could lead out of the volume.
  const std::string target = random_.OneIn(2) ? directory_ + DrawPath() : DrawPath().substr(1);
  return ErrnoOf(symlink(target.c_str(), path.c_str()));
}

int NameStorm::MakeNode() {
  const std::string path = Target();
  what_ = "mknod " + what_;
  const mode_t types[] = {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFREG};
  const mode_t type = random_.Pick(types);
  return ErrnoOf(mknod(path.c_str(), type | 0600, type == S_IFCHR ? makedev(1, 3) : 0));
}

int NameStorm::Link() {
  const std::string from = Target();
  const std::string from_what = what_;
  const std::string to = Target();
  what_ = "link " + from_what + " " + what_;
  return ErrnoOf(linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                        random_.OneIn(4) ? AT_SYMLINK_FOLLOW : 0));
}

int NameStorm::Unlink() {
  const std::string path = Target();
  what_ = "unlink " + what_;
  return ErrnoOf(unlink(path.c_str()));
}

int NameStorm::RemoveDirectory() {
  const std::string path = Target();
  what_ = "rmdir " + what_;
  return ErrnoOf(rmdir(path.c_str()));
}

int NameStorm::RenameWith(unsigned flags) {
  const std::string from = Target();
  const std::string from_what = what_;
  const std::string to = Target();
  what_ = "rename " + from_what + " " + what_ + " flags " + std::to_string(flags);
  return ErrnoOf(renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}

int NameStorm::Rename() { return RenameWith(0); }
int NameStorm::Exchange() { return RenameWith(RENAME_EXCHANGE); }
int NameStorm::RenameNoReplace() { return RenameWith(RENAME_NOREPLACE); }
int NameStorm::RenameWhiteout() { return RenameWith(RENAME_WHITEOUT); }

int NameStorm::MakeUnnamed() {
  const std::string path = random_.OneIn(3) ? directory_ : Target();
  what_ = "tmpfile in " + what_;
  const int fd = open(path.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return errno;
  Hold(fd);
  const std::string data = random_.Bytes(random_.Below(2000));
  if (write(fd, data.data(), data.size()) < 0) return errno;
  return random_.OneIn(3) ? 0 : NameUnnamed(fd);
}

int NameStorm::NameUnnamed(int fd) {
  const std::string path = Target();
  what_ = "link an unnamed file to " + what_;
  return ErrnoOf(linkat(AT_FDCWD, ProcPath(fd).c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW));
}

int NameStorm::SetXattr() {
  const std::string path = Target();
  const char* const names[] = {"user.a", "user.b", "trusted.a"};
  const std::string name = random_.Pick(names);
  what_ = "setxattr " + what_ + " " + name;
  const std::string value = random_.Bytes(random_.Below(100));
  const int flags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
  return ErrnoOf(
      lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), random_.Pick(flags)));
}

int NameStorm::RemoveXattr() {
  const std::string path = Target();
  what_ = "removexattr " + what_;
  return ErrnoOf(lremovexattr(path.c_str(), random_.OneIn(2) ? "user.a" : "trusted.a"));
}

int NameStorm::ChangeMode() {
  const std::string path = Target();
  what_ = "chmod " + what_;
  const mode_t modes[] = {0644, 0755, 04755, 02755, 01777};
  return ErrnoOf(chmod(path.c_str(), random_.Pick(modes)));
}

int NameStorm::ChangeOwner() {
  const std::string path = Target();
  what_ = "chown " + what_;
  return ErrnoOf(lchown(path.c_str(), static_cast<uid_t>(random_.Below(3)),
                        static_cast<gid_t>(random_.Below(3))));
}

int NameStorm::ChangeTimes() {
  const std::string path = Target();
  what_ = "utimensat " + what_;
  const timespec times[2] = {{-1000, 5}, {5'000'000'000, 999'999'999}};
  return ErrnoOf(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW));
}

int NameStorm::Truncate() {
  const std::string path = Target();
  what_ = "truncate " + what_;
  return ErrnoOf(truncate(path.c_str(), static_cast<off_t>(random_.Below(200'000))));
}

int NameStorm::ChangeHeld() {
  what_ = "changing an open file";
  if (held_.empty()) return 0;
  const int fd = held_[random_.Below(held_.size())];
  const std::string data = random_.Bytes(1 + random_.Below(3000));
  switch (random_.Below(6)) {
    case 0:
      return ErrnoOf(ftruncate(fd, static_cast<off_t>(random_.Below(10'000))));
    case 1:
      return ErrnoOf(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5000));
    case 2:
      return ErrnoOf(fchmod(fd, 0640));
    case 3:
      return ErrnoOf(fsetxattr(fd, "user.held", data.data(), data.size() % 50, 0));
    case 4:
      return random_.OneIn(20) ? ErrnoOf(fsync(fd)) : 0;
    default:
      return ErrnoOf(
          pwrite(fd, data.data(), data.size(), static_cast<off_t>(random_.Below(150'000))));
  }
}

int NameStorm::CopyHeld() {
  what_ = "copying between open files";
  if (held_.empty()) return 0;
  off_t from = 0;
  auto to = static_cast<off_t>(random_.Below(9000));
  return ErrnoOf(copy_file_range(random_.PickFrom(held_), &from, random_.PickFrom(held_), &to,
                                 1 + random_.Below(9000), 0));
}

int NameStorm::List() {
  const std::string path = random_.OneIn(3) ? directory_ : Target();
  what_ = "readdir " + what_;
  DIR* dir = opendir(path.c_str());
  if (dir == nullptr) return errno;
  std::set<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir)) {
    if (!names.insert(entry->d_name).second) problem_ = std::string("twice ") + entry->d_name;
  }
  const int error = errno;  // ENOENT if the directory was removed meanwhile
  closedir(dir);
  return error;
}

int NameStorm::Look() {
  const std::string path = Target();
  what_ = "looking at " + what_;
  struct stat st;
  if (random_.OneIn(2)) return ErrnoOf(stat(path.c_str(), &st));
  char target[256];
  return ErrnoOf(readlink(path.c_str(), target, sizeof(target)));
}

}  // namespace rw::testing
