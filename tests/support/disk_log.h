// What was asked of the disk, by journals and index alike, in one order: every change, and every
// sync that came back. From it, disks can be made as a power failure may leave them
// (tests/support/disk_model.h).
#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fs/file.h"

namespace rw::testing {

// What is on a disk, by path from its root; directories have no contents.
using DiskContents = std::shared_ptr<const std::string>;
using DiskImage = std::map<std::string, DiskContents>;

// Makes `directory` hold that and nothing else.
void WriteImage(const DiskImage& image, const std::filesystem::path& directory);
uint64_t HashOf(const DiskImage& image);

struct DiskEvent {
  enum class Kind {
    kCreate,
    kWrite,
    kZero,
    kResize,
    kSync,
    kMakeDirectory,
    kRemoveDirectory,
    kRename,
    kRemove,
    kSyncDirectory,
  };
  Kind kind = Kind::kCreate;
  uint32_t file = 0;    // what has a name, gets one or loses one; of directories 0
  std::string path{};   // of a change of contents: as the file was called when it was opened
  std::string to{};     // of a rename
  uint64_t offset = 0;  // of a write or of zeros
  uint64_t length = 0;  // of zeros; the new size of kResize
  std::string data{};
  size_t begun = 0;  // of a sync: it covers the events before this one

  bool is_sync() const { return kind == Kind::kSync || kind == Kind::kSyncDirectory; }
  bool is_name() const;
};

// Thread safety: all methods may be called from any thread, but for events() and base().
class DiskLog {
 public:
  // `base`: what the disk holds, durably. The disk's root is the directory `root`.
  DiskLog(std::filesystem::path root, DiskImage base);

  // Syncs of which this is true come back without having done anything. Set before use.
  std::function<bool(const DiskEvent&)> lose;
  // Called before anything is written through the layer under the journals.
  std::function<void(const std::string& path)> before_write;

  size_t size() const;
  const DiskImage& base() const { return base_; }
  const std::vector<DiskEvent>& events() const { return events_; }
  // How often `lose` said yes.
  size_t lost() const { return lost_; }
  // Numbers of the files of `base`, which begin at 1.
  std::map<std::string, uint32_t> BaseNames() const;

 private:
  friend class RecordingFiles;
  friend class RecordingFileSystem;
  friend class RecordedFile;

  // All of these need mutex_, held over the change itself.
  std::string Relative(const std::string& path) const;
  void Add(DiskEvent event) { events_.push_back(std::move(event)); }
  uint32_t Open(const std::string& path, bool truncate);  // 0: it is not known
  uint32_t Create(const std::string& path);
  void AddRename(const std::string& from, const std::string& to);
  void AddRemove(const std::string& path);
  void AddDirectory(const std::string& path, bool made);
  void AddSync(DiskEvent event);

  const std::string root_;
  const DiskImage base_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<DiskEvent> events_;
  std::map<std::string, uint32_t> names_;
  uint32_t next_file_ = 1;
  size_t lost_ = 0;
};

// An open file's side of the log; null log: nothing is recorded.
class RecordedFile {
 public:
  RecordedFile(DiskLog* log, uint32_t file, std::string path)
      : log_(log), file_(file), path_(std::move(path)) {}
  // Does the change and records it, at one moment for everybody else.
  void Change(DiskEvent event, const std::function<void()>& change);
  void Sync();
  void TellOfWrite() const {
    if (log_ != nullptr && log_->before_write) log_->before_write(path_);
  }

 private:
  DiskLog* log_;
  uint32_t file_;
  std::string path_;
};

// The layer under the journals. Syncs are recorded and not done: the machine stays alive. Without a
// log it is just fast.
class RecordingFiles : public FileLayer {
 public:
  explicit RecordingFiles(DiskLog* log) : log_(log) {}
  std::unique_ptr<File> Open(const std::filesystem::path& path, Mode mode) override;
  void Remove(const std::filesystem::path& path) override;
  void Rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void MakeDirectory(const std::filesystem::path& path) override;
  void RemoveDirectory(const std::filesystem::path& path) override;
  void SyncDirectory(const std::filesystem::path& path) override;
  std::vector<std::string> List(const std::filesystem::path& path) override;

 private:
  DiskLog* log_;
};

// The same under the index.
std::shared_ptr<rocksdb::FileSystem> MakeRecordingFileSystem(DiskLog* log);

}  // namespace rw::testing
