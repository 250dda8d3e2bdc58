#include "plugin/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "metadata/refused.h"

namespace rw {
namespace {

// What is in volumes may be everybody's secrets.
constexpr mode_t kMode = 0600;

}  // namespace

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) {
  if (path_.empty()) {
    fd_ = STDOUT_FILENO;
    return;
  }
  struct stat there {};
  if (stat(path_.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    fd_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);  // a pipe, a device
    if (fd_ < 0) Fail("cannot write");
    return;
  }
  replaces_ = true;
  const std::filesystem::path directory =
      path_.parent_path().empty() ? std::filesystem::path(".") : path_.parent_path();
  fd_ = open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, kMode);
  if (fd_ >= 0) return;
  if (errno != EOPNOTSUPP && errno != EISDIR) Fail("cannot write");
  partial_ = path_.string() + ".partial-" + std::to_string(getpid());
  fd_ = open(partial_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, kMode);
  if (fd_ < 0) Fail("cannot write");
}

OutputFile::~OutputFile() {
  if (fd_ > STDERR_FILENO) close(fd_);
  if (!partial_.empty()) unlink(partial_.c_str());
}

void OutputFile::Fail(const char* what) const {
  const int error = errno;
  throw Refused(error, std::string(what) + " " +
                           (path_.empty() ? std::string("standard output") : path_.string()) +
                           ": " + std::strerror(error));
}

void OutputFile::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) Fail("cannot write");
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void OutputFile::Keep() {
  if (!replaces_) return;
  if (fsync(fd_) != 0) Fail("cannot write");
  if (partial_.empty()) {
    const std::string self = "/proc/self/fd/" + std::to_string(fd_);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0) return;
    if (errno != EEXIST) Fail("cannot name");
    const std::string partial = path_.string() + ".partial-" + std::to_string(getpid());
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, partial.c_str(), AT_SYMLINK_FOLLOW) != 0)
      Fail("cannot name");
    partial_ = partial;
  }
  if (rename(partial_.c_str(), path_.c_str()) != 0) Fail("cannot name");
  partial_.clear();
}

}  // namespace rw
