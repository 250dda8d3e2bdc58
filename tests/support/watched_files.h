// A file layer that counts syncs, and fails what a test asks it to fail.
#pragma once

#include <errno.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fs/file.h"
#include "metadata/refused.h"

namespace rw::testing {

// Passes on to the real layer; fails or counts what a test asks for.
class WatchedFiles : public FileLayer {
 public:
  uint64_t largest_allocation = UINT64_MAX;  // larger ones fail
  int fail_writes = 0;
  std::atomic<int> syncs{0};
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<uint64_t> bytes_written{0};
  std::atomic<int> writes_of_partial_pages{0};
  std::function<void(const std::string&)> before_write;  // gets the path; may throw
  std::function<void(const std::string&)> after_write;   // once it is done

  // From now on, of paths that contain `part`; "/": of all; nothing: of none.
  void FailSyncsOf(const std::string& part) {
    const std::lock_guard lock(mutex_);
    fail_syncs_of_ = part;
  }
  // How often paths that contain `part` were synced.
  int SyncsOf(const std::string& part) {
    const std::lock_guard lock(mutex_);
    int count = 0;
    for (const std::string& path : synced_) count += path.find(part) != path.npos;
    return count;
  }

  std::unique_ptr<File> Open(const std::filesystem::path& path, Mode mode) override {
    return std::make_unique<WatchedFile>(this, Posix()->Open(path, mode), path.string());
  }
  void Remove(const std::filesystem::path& path) override { Posix()->Remove(path); }
  void Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    Posix()->Rename(from, to);
  }
  void RemoveDirectory(const std::filesystem::path& path) override {
    Posix()->RemoveDirectory(path);
  }
  void MakeDirectory(const std::filesystem::path& path) override { Posix()->MakeDirectory(path); }
  void SyncDirectory(const std::filesystem::path& path) override { Posix()->SyncDirectory(path); }
  std::vector<std::string> List(const std::filesystem::path& path) override {
    return Posix()->List(path);
  }

 private:
  class WatchedFile : public File {
   public:
    WatchedFile(WatchedFiles* watch, std::unique_ptr<File> file, std::string path)
        : watch_(watch), file_(std::move(file)), path_(std::move(path)) {}
    void WriteAt(std::span<const iovec> parts, uint64_t offset) override {
      if (watch_->before_write) watch_->before_write(path_);
      size_t bytes = 0;
      for (const iovec& part : parts) bytes += part.iov_len;
      if (offset % 4096 != 0 || bytes % 4096 != 0) ++watch_->writes_of_partial_pages;
      if (watch_->fail_writes > 0) {
        --watch_->fail_writes;
        file_->WriteAt(parts.first(std::min<size_t>(2, parts.size())),
                       offset);  // a part of it gets there
        throw Refused(ENOSPC, "no space");
      }
      file_->WriteAt(parts, offset);
      watch_->bytes_written += bytes;
      if (watch_->after_write) watch_->after_write(path_);
    }
    size_t ReadAt(std::span<char> out, uint64_t offset) override {
      const size_t got = file_->ReadAt(out, offset);
      watch_->bytes_read += got;
      return got;
    }
    void Allocate(uint64_t bytes) override {
      if (bytes > watch_->largest_allocation) throw Refused(ENOSPC, "no space");
      file_->Allocate(bytes);
    }
    void Zero(uint64_t offset, uint64_t length) override { file_->Zero(offset, length); }
    void Truncate(uint64_t bytes) override { file_->Truncate(bytes); }
    void SyncData() override {
      ++watch_->syncs;
      {
        const std::lock_guard lock(watch_->mutex_);
        watch_->synced_.push_back(path_);
        const std::string& failing = watch_->fail_syncs_of_;
        if (!failing.empty() && path_.find(failing) != path_.npos)
          throw Refused(EIO, "sync failed");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // as a disk takes its time
      file_->SyncData();
    }
    uint64_t Size() override { return file_->Size(); }

   private:
    WatchedFiles* watch_;
    std::unique_ptr<File> file_;
    std::string path_;
  };

  std::mutex mutex_;  // guards what follows
  std::string fail_syncs_of_;
  std::vector<std::string> synced_;
};

}  // namespace rw::testing
