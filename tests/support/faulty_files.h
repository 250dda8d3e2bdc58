// A file layer whose disk fails: the n-th call that changes something, and so many after it.
#pragma once

#include <errno.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "fs/file.h"
#include "metadata/refused.h"

namespace rw::testing {

// Passes on to the real layer. Reads never fail.
class FaultyFiles : public FileLayer {
 public:
  // Of the calls from now on, those from number `first` (the next is 1) fail, `count` of them.
  void FailFrom(uint64_t first, uint64_t count, int error) {
    calls_ = 0;
    first_ = first;
    count_ = count;
    error_ = error;
  }
  void Heal() { count_ = 0; }
  uint64_t failed() const { return failed_; }
  uint64_t failed_syncs() const { return failed_syncs_; }

  std::unique_ptr<File> Open(const std::filesystem::path& path, Mode mode) override {
    if (mode == Mode::kCreate) Count(false);
    return std::make_unique<FaultyFile>(this, Posix()->Open(path, mode));
  }
  void Remove(const std::filesystem::path& path) override { Posix()->Remove(path); }
  void Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    Count(false);
    Posix()->Rename(from, to);
  }
  void RemoveDirectory(const std::filesystem::path& path) override {
    Posix()->RemoveDirectory(path);
  }
  void MakeDirectory(const std::filesystem::path& path) override {
    Count(false);
    Posix()->MakeDirectory(path);
  }
  void SyncDirectory(const std::filesystem::path& path) override {
    Count(true);
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
        disk_->Count(false);
      } catch (const Refused&) {
        file_->WriteAt(parts.first(std::min<size_t>(2, parts.size())),
                       offset);  // a part of it gets there
        throw;
      }
      file_->WriteAt(parts, offset);
    }
    size_t ReadAt(std::span<char> out, uint64_t offset) override {
      return file_->ReadAt(out, offset);
    }
    void Allocate(uint64_t bytes) override {
      disk_->Count(false);
      file_->Allocate(bytes);
    }
    void Zero(uint64_t offset, uint64_t length) override {
      disk_->Count(false);
      file_->Zero(offset, length);
    }
    void Truncate(uint64_t bytes) override {
      disk_->Count(false);
      file_->Truncate(bytes);
    }
    void SyncData() override {
      disk_->Count(true);
      file_->SyncData();
    }
    uint64_t Size() override { return file_->Size(); }

   private:
    FaultyFiles* disk_;
    std::unique_ptr<File> file_;
  };

  void Count(bool sync) {
    const uint64_t call = ++calls_;
    if (call < first_ || call - first_ >= count_) return;
    ++failed_;
    if (sync) ++failed_syncs_;
    throw Refused(error_, "the disk fails");
  }

  std::atomic<uint64_t> calls_{0}, failed_{0}, failed_syncs_{0};
  std::atomic<uint64_t> first_{1}, count_{0};
  std::atomic<int> error_{EIO};
};

}  // namespace rw::testing
