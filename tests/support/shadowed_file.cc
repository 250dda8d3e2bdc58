#include "tests/support/shadowed_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace rw::testing {
namespace {

constexpr uint64_t kPage = 4096;

std::string Failed(const char* call) { return std::string(call) + ": " + strerror(errno); }

std::string Returned(const char* call, int64_t result, uint64_t expected) {
  if (result < 0) return Failed(call);
  return std::string(call) + " returns " + std::to_string(result) + ", expected " +
         std::to_string(expected);
}

// Memory that O_DIRECT can use.
struct Aligned {
  explicit Aligned(size_t size)
      : bytes(static_cast<char*>(aligned_alloc(kPage, (size / kPage + 1) * kPage)), &free) {}
  std::unique_ptr<char, decltype(&free)> bytes;
};

}  // namespace

std::string ShadowedFile::Open(const std::string& path) {
  path_ = path;
  fd_ = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  direct_fd_ = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
  append_fd_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd_ < 0 || direct_fd_ < 0 || append_fd_ < 0) return Failed("open");
  void* mapping = mmap(nullptr, max_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (mapping == MAP_FAILED) return Failed("mmap");
  mapping_ = static_cast<char*>(mapping);
  return CheckWhole();
}

void ShadowedFile::Close() {
  if (mapping_ != nullptr) munmap(std::exchange(mapping_, nullptr), max_bytes_);
  for (int* fd : {&fd_, &direct_fd_, &append_fd_}) {
    if (*fd >= 0) close(std::exchange(*fd, -1));
  }
}

std::string ShadowedFile::Compare(std::string_view actual, uint64_t offset, const char* how) const {
  const std::string_view expected =
      std::string_view(shadow_).substr(std::min<uint64_t>(offset, size()), actual.size());
  if (actual == expected) return {};
  if (actual.size() != expected.size())
    return Returned(how, static_cast<int64_t>(actual.size()), expected.size());
  const auto different = std::mismatch(actual.begin(), actual.end(), expected.begin());
  const auto at = static_cast<uint64_t>(different.first - actual.begin());
  uint64_t wrong = 0;
  for (uint64_t i = at; i < actual.size(); ++i) wrong += actual[i] != expected[i] ? 1 : 0;
  return std::string(how) + ": from offset " + std::to_string(offset + at) + " on " +
         std::to_string(wrong) + " bytes are wrong, the first is " +
         std::to_string(static_cast<unsigned char>(*different.first)) + " instead of " +
         std::to_string(static_cast<unsigned char>(*different.second)) + "; the size is " +
         std::to_string(size());
}

template <typename Use>
std::string ShadowedFile::WithFreshMapping(uint64_t offset, uint64_t length, const Use& use) const {
  const uint64_t start = offset / kPage * kPage;
  const uint64_t bytes = offset + length - start;
  void* mapping =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, static_cast<off_t>(start));
  if (mapping == MAP_FAILED) return Failed("mmap");
  std::string problem = use(static_cast<char*>(mapping) + (offset - start));
  munmap(mapping, bytes);
  return problem;
}

std::string ShadowedFile::Read(Way way, uint64_t offset, uint64_t length) {
  if (way == Way::kMapping) return Compare({mapping_ + offset, length}, offset, "mapping");
  if (way == Way::kFreshMapping) {
    return WithFreshMapping(offset, length, [&](const char* at) {
      return Compare({at, length}, offset, "fresh mapping");
    });
  }
  const bool direct = way == Way::kDirect;
  const char* how = direct ? "direct read" : "read";
  const Aligned buffer(length);
  const ssize_t got =
      pread(direct ? direct_fd_ : fd_, buffer.bytes.get(), length, static_cast<off_t>(offset));
  const uint64_t expected = std::min(length, size() - std::min(size(), offset));
  if (got != static_cast<ssize_t>(expected)) return Returned(how, got, expected);
  return Compare({buffer.bytes.get(), expected}, offset, how);
}

std::string ShadowedFile::Write(Way way, uint64_t offset, std::string_view data,
                                bool sync_mapping) {
  if (shadow_.size() < offset + data.size()) shadow_.resize(offset + data.size());
  std::copy(data.begin(), data.end(), shadow_.begin() + static_cast<ptrdiff_t>(offset));
  const auto store = [&](char* at) -> std::string {
    memcpy(at, data.data(), data.size());
    if (!sync_mapping) return {};
    char* page = at - offset % kPage;
    const uint64_t bytes = data.size() + offset % kPage;
    return msync(page, bytes, MS_SYNC) == 0 ? "" : Failed("msync");
  };
  if (way == Way::kMapping) return store(mapping_ + offset);
  if (way == Way::kFreshMapping) return WithFreshMapping(offset, data.size(), store);
  const bool direct = way == Way::kDirect;
  const Aligned buffer(data.size());
  memcpy(buffer.bytes.get(), data.data(), data.size());
  const ssize_t put = pwrite(direct ? direct_fd_ : fd_, buffer.bytes.get(), data.size(),
                             static_cast<off_t>(offset));
  return put == static_cast<ssize_t>(data.size())
             ? ""
             : Returned(direct ? "direct write" : "write", put, data.size());
}

std::string ShadowedFile::Append(std::string_view data) {
  shadow_ += data;
  const ssize_t put = write(append_fd_, data.data(), data.size());
  return put == static_cast<ssize_t>(data.size()) ? "" : Returned("append", put, data.size());
}

std::string ShadowedFile::Truncate(uint64_t size, bool by_path) {
  shadow_.resize(size);
  const auto length = static_cast<off_t>(size);
  return (by_path ? truncate(path_.c_str(), length) : ftruncate(fd_, length)) == 0
             ? ""
             : Failed("truncate");
}

std::string ShadowedFile::Fallocate(int mode, uint64_t offset, uint64_t length) {
  const int result = fallocate(fd_, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  if ((mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) != 0) {
    return result < 0 && errno == EOPNOTSUPP ? "" : Returned("fallocate", result, EOPNOTSUPP);
  }
  if (result != 0) return Failed("fallocate");
  const uint64_t end = offset + length;
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && end > size()) shadow_.resize(end);
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
    for (uint64_t at = offset; at < std::min(end, size()); ++at) shadow_[at] = '\0';
  }
  return {};
}

std::string ShadowedFile::CopyFrom(const ShadowedFile& source, uint64_t from, uint64_t to,
                                   uint64_t length) {
  const uint64_t expected = std::min(length, source.size() - std::min(source.size(), from));
  auto from_offset = static_cast<off_t>(from);
  auto to_offset = static_cast<off_t>(to);
  const ssize_t copied = copy_file_range(source.fd_, &from_offset, fd_, &to_offset, length, 0);
  if (&source == this && from < to + expected && to < from + expected) {
    return copied < 0 && errno == EINVAL ? "" : Returned("copy of what overlaps", copied, EINVAL);
  }
  if (copied != static_cast<ssize_t>(expected)) return Returned("copy", copied, expected);
  const std::string bytes = source.shadow_.substr(std::min(from, source.size()), expected);
  if (expected > 0 && size() < to + expected) shadow_.resize(to + expected);
  std::copy(bytes.begin(), bytes.end(), shadow_.begin() + static_cast<ptrdiff_t>(to));
  return {};
}

std::string ShadowedFile::CheckHoles() {
  // The kernel does not ask its own cache: stores that it has not passed on are holes to it.
  if (std::string problem = Sync(true); !problem.empty()) return problem;
  const auto end = static_cast<off_t>(size());
  for (off_t at = 0; at < end;) {
    off_t data = lseek(fd_, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) data = end;
    if (data < at || data > end) return Returned("SEEK_DATA", data, static_cast<uint64_t>(at));
    if (shadow_.find_first_not_of('\0', static_cast<size_t>(at)) < static_cast<size_t>(data))
      return "SEEK_DATA calls data a hole, from " + std::to_string(at);
    if (data == end) break;
    at = lseek(fd_, data, SEEK_HOLE);
    if (at <= data || at > end) return Returned("SEEK_HOLE", at, static_cast<uint64_t>(data));
  }
  return {};
}

std::string ShadowedFile::Sync(bool data_only) {
  return (data_only ? fdatasync(fd_) : fsync(fd_)) == 0 ? "" : Failed("fsync");
}

std::string ShadowedFile::DropCache() {
  if (std::string problem = Sync(true); !problem.empty()) return problem;
  return posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED) == 0 ? "" : "posix_fadvise refused";
}

std::string ShadowedFile::CheckSize() const {
  struct stat st;
  if (fstat(fd_, &st) != 0) return Failed("fstat");
  const auto actual = static_cast<uint64_t>(st.st_size);
  if (actual == size()) return {};
  return "the size is " + std::to_string(actual) + ", expected " + std::to_string(size());
}

std::string ShadowedFile::CheckWhole() const {
  std::string bytes(max_bytes_ + 1, '#');
  const ssize_t got = pread(fd_, bytes.data(), bytes.size(), 0);
  if (got < 0) return Failed("read");
  if (got != static_cast<ssize_t>(size())) return Returned("reading it whole", got, size());
  bytes.resize(static_cast<size_t>(got));
  return Compare(bytes, 0, "reading it whole");
}

}  // namespace rw::testing
