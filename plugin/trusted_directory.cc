#include "plugin/trusted_directory.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "metadata/refused.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

constexpr int kMaxLinks = 40;  // as the kernel's

bool IsTrusted(uid_t owner) { return owner == 0 || owner == geteuid(); }

// One walk, in the steps in which the kernel would do it.
class Walk {
 public:
  Walk(stdfs::path directory, std::string use)
      : given_(std::move(directory)), use_(std::move(use)) {
    Push(stdfs::absolute(given_));
  }

  void Go() {
    struct stat status;
    Look(at_, &status);
    while (!left_.empty()) {
      const stdfs::path name = left_.front();
      left_.pop_front();
      if (name.empty() || name == ".") continue;
      if (name == "..") {
        at_ = at_.parent_path();
        Look(at_, &status);
        continue;
      }
      Look(at_ / name, &status);
      if (S_ISLNK(status.st_mode)) {
        Follow(at_ / name, status);
        continue;
      }
      if (!S_ISDIR(status.st_mode)) Refuse(ENOTDIR, at_ / name, "is not a directory");
      at_ /= name;
      CheckOnTheWay(status);
    }
    Look(at_, &status);
    CheckTarget(status);
  }

 private:
  void Push(const stdfs::path& path) {
    std::deque<stdfs::path> parts;
    const stdfs::path relative = path.relative_path();
    parts.assign(relative.begin(), relative.end());
    left_.insert(left_.begin(), parts.begin(), parts.end());
  }

  void Look(const stdfs::path& path, struct stat* status) const {
    if (lstat(path.c_str(), status) != 0) Refuse(errno, path, std::strerror(errno));
  }

  void Follow(const stdfs::path& link, const struct stat& status) {
    if (!IsTrusted(status.st_uid)) {
      Refuse(EPERM, link,
             "is a link of user " + std::to_string(status.st_uid) +
                 "'s, who could make it point anywhere; name the directory itself");
    }
    if (++links_ > kMaxLinks) Refuse(ELOOP, link, std::strerror(ELOOP));
    const stdfs::path target = stdfs::read_symlink(link);
    if (target.is_absolute()) at_ = "/";
    Push(target);
  }

  void CheckOnTheWay(const struct stat& status) const {
    if ((status.st_mode & S_IWOTH) == 0 || (status.st_mode & S_ISVTX) != 0) return;
    Refuse(EPERM, at_, "is everybody's to write to; chmod o-w it, or use another directory");
  }

  void CheckTarget(const struct stat& status) const {
    if (!IsTrusted(status.st_uid)) {
      Refuse(EPERM, at_,
             "belongs to user " + std::to_string(status.st_uid) +
                 "; chown it to root, or use another directory");
    }
    const bool by_group = (status.st_mode & S_IWGRP) != 0 && status.st_gid != 0;
    if (by_group || (status.st_mode & S_IWOTH) != 0) {
      Refuse(EPERM, at_, "can be written by others; chmod go-w it, or use another directory");
    }
  }

  [[noreturn]] void Refuse(int error, const stdfs::path& at, const std::string& why) const {
    throw Refused(error, "cannot use " + given_.string() + " for " + use_ + ": " + at.string() +
                             (error == EPERM || error == ENOTDIR ? " " : ": ") + why);
  }

  const stdfs::path given_;
  const std::string use_;
  stdfs::path at_ = "/";
  std::deque<stdfs::path> left_;
  int links_ = 0;
};

}  // namespace

void UseTrustedDirectory(const stdfs::path& directory, const std::string& use) {
  std::error_code error;
  if (!stdfs::exists(directory, error)) {
    if (directory.has_parent_path()) stdfs::create_directories(directory.parent_path(), error);
    mkdir(directory.c_str(), 0700);  // what is wrong with it is found next
  }
  CheckTrustedDirectory(directory, use);
}

void CheckTrustedDirectory(const stdfs::path& directory, const std::string& use) {
  Walk(directory, use).Go();
}

}  // namespace rw
