// A disk that fails: the n-th call that changes something, and so many after it. Two file layers of
// such a disk: the one under all but the index, and the one under the index.
#pragma once

#include <errno.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "fs/file.h"
#include "metadata/refused.h"

namespace rocksdb {
class FileSystem;
}

namespace rw::testing {

// Thread safety: Count may be called from any thread.
class FailingCalls {
 public:
  // Of the calls from now on, those from number `first` (the next is 1) fail, `count` of them.
  void FailFrom(uint64_t first, uint64_t count, int error) {
    count_ = 0;
    calls_ = 0;
    first_ = first;
    error_ = error;
    count_ = count;
  }
  void Heal() { count_ = 0; }
  // From now on reads fail, too, each of them, or not any more.
  void FailReads(bool fail) { reads_fail_ = fail; }
  uint64_t failed() const { return failed_; }
  uint64_t failed_syncs() const { return failed_syncs_; }

  // A call that changes something, or syncs: 0, or the errno with which it fails.
  int Count(bool sync) {
    const uint64_t call = ++calls_;
    if (call < first_ || call - first_ >= count_) return 0;
    ++failed_;
    if (sync) ++failed_syncs_;
    return error_;
  }
  int CountRead() {
    if (!reads_fail_) return 0;
    ++failed_;
    return EIO;
  }

 private:
  std::atomic<uint64_t> calls_{0}, failed_{0}, failed_syncs_{0};
  std::atomic<uint64_t> first_{1}, count_{0};
  std::atomic<int> error_{EIO};
  std::atomic<bool> reads_fail_{false};
};

// Passes on to the real one what does not fail.
std::shared_ptr<rocksdb::FileSystem> MakeFaultyFileSystem(FailingCalls* calls);

// Passes on to the real layer.
class FaultyFiles : public FileLayer, public FailingCalls {
 public:
  std::unique_ptr<File> Open(const std::filesystem::path& path, Mode mode) override {
    if (mode == Mode::kCreate) MayFail(false);
    return std::make_unique<FaultyFile>(this, Posix()->Open(path, mode));
  }
  void Remove(const std::filesystem::path& path) override { Posix()->Remove(path); }
  void Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    MayFail(false);
    Posix()->Rename(from, to);
  }
  void RemoveDirectory(const std::filesystem::path& path) override {
    Posix()->RemoveDirectory(path);
  }
  void MakeDirectory(const std::filesystem::path& path) override {
    MayFail(false);
    Posix()->MakeDirectory(path);
  }
  void SyncDirectory(const std::filesystem::path& path) override {
    MayFail(true);
    Posix()->SyncDirectory(path);
  }
  std::vector<std::string> List(const std::filesystem::path& path) override {
    return Posix()->List(path);
  }

 private:
  class FaultyFile : public File {
   public:
    FaultyFile(FaultyFiles* disk, std::unique_ptr<File> file)
        : disk_(disk), file_(std::move(file)) {}
    void WriteAt(std::span<const iovec> parts, uint64_t offset) override {
      try {
        disk_->MayFail(false);
      } catch (const Refused&) {
        file_->WriteAt(parts.first(std::min<size_t>(2, parts.size())),
                       offset);  // a part of it gets there
        throw;
      }
      file_->WriteAt(parts, offset);
    }
    size_t ReadAt(std::span<char> out, uint64_t offset) override {
      if (const int error = disk_->CountRead()) throw Refused(error, "the disk cannot read");
      return file_->ReadAt(out, offset);
    }
    void Allocate(uint64_t bytes) override {
      disk_->MayFail(false);
      file_->Allocate(bytes);
    }
    void Zero(uint64_t offset, uint64_t length) override {
      disk_->MayFail(false);
      file_->Zero(offset, length);
    }
    void Truncate(uint64_t bytes) override {
      disk_->MayFail(false);
      file_->Truncate(bytes);
    }
    void SyncData() override {
      disk_->MayFail(true);
      file_->SyncData();
    }
    uint64_t Size() override { return file_->Size(); }

   private:
    FaultyFiles* disk_;
    std::unique_ptr<File> file_;
  };

  void MayFail(bool sync) {
    if (const int error = Count(sync)) throw Refused(error, "the disk fails");
  }
};

}  // namespace rw::testing
