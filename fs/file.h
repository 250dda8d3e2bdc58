// The file layer under all but the index: the few calls that reach the disk. Tests replace it to
// fail calls and to take away what was not synced; the index has one of its own
// (metadata/index.h).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rw {

// An open file. Thread safety: reads may overlap anything; writes are the caller's to order.
// Errors: Refused with the errno of the call.
class File {
 public:
  virtual ~File() = default;
  virtual void WriteAt(std::span<const iovec> parts, uint64_t offset) = 0;  // all of it, or throws
  virtual size_t ReadAt(std::span<char> out,
                        uint64_t offset) = 0;  // short only at the end of the file
  virtual void Allocate(
      uint64_t bytes) = 0;  // makes the file `bytes` long with space reserved; new bytes are zero
  virtual void Zero(uint64_t offset, uint64_t length) = 0;  // within the file
  virtual void Truncate(uint64_t bytes) = 0;
  virtual void SyncData() = 0;  // contents and size survive the machine
  virtual uint64_t Size() = 0;
  // These bytes will be read soon: a hint, which may have no effect and never fails.
  virtual void WillRead(uint64_t /*offset*/, uint64_t /*length*/) {}
};

class FileLayer {
 public:
  virtual ~FileLayer() = default;
  enum class Mode { kRead, kReadWrite, kCreate };  // kCreate: also truncates what is there
  virtual std::unique_ptr<File> Open(const std::filesystem::path& path, Mode mode) = 0;
  virtual void Remove(const std::filesystem::path& path) = 0;  // absent: fine
  // Takes the place of what is there.
  virtual void Rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  virtual void MakeDirectory(
      const std::filesystem::path& path) = 0;  // mode 0700; there already: fine
  virtual void RemoveDirectory(
      const std::filesystem::path& path) = 0;  // which is empty; absent: fine
  virtual void SyncDirectory(const std::filesystem::path& path) = 0;
  virtual std::vector<std::string> List(const std::filesystem::path& path) = 0;  // absent: empty

  // Of a directory that holds files only.
  void RemoveWithFiles(const std::filesystem::path& directory);

  static FileLayer* Posix();  // the real one; never deleted
};

}  // namespace rw
