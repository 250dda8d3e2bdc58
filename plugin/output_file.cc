#include "plugin/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "metadata/quoted.h"
#include "metadata/refused.h"

namespace rw {

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) {
  struct stat there;
  in_place_ = stat(path_.c_str(), &there) == 0 && !S_ISREG(there.st_mode);
  if (in_place_) {
    fd_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    const std::filesystem::path parent = path_.has_parent_path() ? path_.parent_path() : ".";
    // Without a name, so that nothing is left whatever ends us.
    fd_ = open(parent.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
      temporary_ = path_.string() + ".rewind-XXXXXX";
      fd_ = mkostemp(temporary_.data(), O_CLOEXEC);
      if (fd_ < 0) temporary_.clear();
    }
  }
  if (fd_ < 0) Refuse("cannot make");
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void OutputFile::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) Refuse("cannot write");
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void OutputFile::Finish() {
  if (in_place_) return;
  if (temporary_.empty()) {
    const std::string name = path_.string() + ".rewind-" + std::to_string(getpid());
    const std::string fd = "/proc/self/fd/" + std::to_string(fd_);
    if (linkat(AT_FDCWD, fd.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      Refuse("cannot name");
    temporary_ = name;
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) Refuse("cannot name");
  temporary_.clear();
}

void OutputFile::Refuse(const char* what) const {
  const int error = errno;
  throw Refused(error,
                std::string(what) + " " + Quoted(path_.string()) + ": " + std::strerror(error));
}

}  // namespace rw
