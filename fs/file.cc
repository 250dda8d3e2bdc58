#include "fs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "metadata/refused.h"

namespace rw {
namespace {

[[noreturn]] void Throw(const char* call, const std::string& path) {
  const int error = errno;
  throw Refused(error, std::string(call) + " " + path + ": " + std::strerror(error));
}

class PosixFile : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { close(fd_); }

  void WriteAt(std::span<const iovec> parts, uint64_t offset) override {
    std::vector<iovec> left(parts.begin(), parts.end());
    size_t first = 0;
    while (first < left.size()) {
      const int count = static_cast<int>(std::min<size_t>(left.size() - first, IOV_MAX));
      const ssize_t written = pwritev(fd_, &left[first], count, static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) continue;
        Throw("write", path_);
      }
      offset += static_cast<uint64_t>(written);
      auto taken = static_cast<size_t>(written);
      while (first < left.size() && taken >= left[first].iov_len) taken -= left[first++].iov_len;
      if (taken > 0) {
        left[first].iov_base = static_cast<char*>(left[first].iov_base) + taken;
        left[first].iov_len -= taken;
      }
    }
  }

  size_t ReadAt(std::span<char> out, uint64_t offset) override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got =
          pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (got < 0) {
        if (errno == EINTR) continue;
        Throw("read", path_);
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  void Allocate(uint64_t bytes) override {
    if (TryFallocate(0, 0, bytes)) return;
    if (errno != EOPNOTSUPP) Throw("allocate", path_);
    Truncate(bytes);
  }

  void Zero(uint64_t offset, uint64_t length) override {
    if (length == 0) return;
    if (TryFallocate(FALLOC_FL_ZERO_RANGE, offset, length)) return;
    if (errno != EOPNOTSUPP) Throw("zero", path_);
    const std::vector<char> zeros(1 << 16);
    for (uint64_t end = offset + length; offset < end;) {
      const iovec part{const_cast<char*>(zeros.data()),
                       std::min<uint64_t>(zeros.size(), end - offset)};
      WriteAt({&part, 1}, offset);
      offset += part.iov_len;
    }
  }

  void Truncate(uint64_t bytes) override {
    if (ftruncate(fd_, static_cast<off_t>(bytes)) != 0) Throw("truncate", path_);
  }

  void SyncData() override {
    if (fdatasync(fd_) != 0) Throw("sync", path_);
  }

  uint64_t Size() override {
    struct stat st;
    if (fstat(fd_, &st) != 0) Throw("stat", path_);
    return static_cast<uint64_t>(st.st_size);
  }

  void WillRead(uint64_t offset, uint64_t length) override {
    posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(length), POSIX_FADV_WILLNEED);
  }

 private:
  // A signal may interrupt it (tmpfs).
  bool TryFallocate(int mode, uint64_t offset, uint64_t length) const {
    int result;
    do {
      result = fallocate(fd_, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
    } while (result != 0 && errno == EINTR);
    return result == 0;
  }

  int fd_;
  std::string path_;
};

class PosixFileLayer : public FileLayer {
 public:
  std::unique_ptr<File> Open(const std::filesystem::path& path, Mode mode) override {
    int flags = O_CLOEXEC | O_NOFOLLOW;
    if (mode == Mode::kRead) flags |= O_RDONLY;
    if (mode == Mode::kReadWrite) flags |= O_RDWR;
    if (mode == Mode::kCreate) flags |= O_RDWR | O_CREAT | O_TRUNC;
    const int fd = open(path.c_str(), flags, 0600);
    if (fd < 0) Throw("open", path.string());
    return std::make_unique<PosixFile>(fd, path.string());
  }

  void Remove(const std::filesystem::path& path) override {
    if (unlink(path.c_str()) != 0 && errno != ENOENT) Throw("remove", path.string());
  }

  void Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    if (rename(from.c_str(), to.c_str()) != 0) Throw("rename", from.string());
  }

  void RemoveDirectory(const std::filesystem::path& path) override {
    if (rmdir(path.c_str()) != 0 && errno != ENOENT) Throw("remove", path.string());
  }

  void MakeDirectory(const std::filesystem::path& path) override {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) Throw("mkdir", path.string());
  }

  void SyncDirectory(const std::filesystem::path& path) override {
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) Throw("open", path.string());
    const int result = fsync(fd);
    const int error = errno;
    close(fd);
    errno = error;
    if (result != 0) Throw("sync", path.string());
  }

  std::vector<std::string> List(const std::filesystem::path& path) override {
    std::vector<std::string> names;
    std::error_code error;
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
         it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error && error != std::errc::no_such_file_or_directory) {
      throw Refused(error.value(), "list " + path.string() + ": " + error.message());
    }
    return names;
  }
};

}  // namespace

void FileLayer::RemoveWithFiles(const std::filesystem::path& directory) {
  for (const std::string& name : List(directory)) Remove(directory / name);
  RemoveDirectory(directory);
}

FileLayer* FileLayer::Posix() {
  static PosixFileLayer layer;
  return &layer;
}

}  // namespace rw
