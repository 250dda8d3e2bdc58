// The layer under RocksDB that records what it is asked for.
#include <rocksdb/env.h>

#include "tests/support/disk_log.h"

namespace rw::testing {

using Kind = DiskEvent::Kind;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

class RecordingWritableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  RecordingWritableFile(RecordedFile recorded, uint64_t size,
                        std::unique_ptr<rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), recorded_(std::move(recorded)), size_(size) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* dbg) override {
    IOStatus status;
    recorded_.Change({.kind = Kind::kWrite, .offset = size_, .data = data.ToString()},
                     [&] { status = target()->Append(data, options, dbg); });
    size_ += data.size();
    return status;
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& /*info*/, IODebugContext* dbg) override {
    return Append(data, options, dbg);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* dbg) override {
    if (size == size_) return IOStatus::OK();
    IOStatus status;
    recorded_.Change({.kind = Kind::kResize, .length = size},
                     [&] { status = target()->Truncate(size, options, dbg); });
    size_ = size;
    return status;
  }
  IOStatus Sync(const IOOptions& /*options*/, IODebugContext* /*dbg*/) override {
    recorded_.Sync();
    return IOStatus::OK();
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return Sync(options, dbg);
  }
  // Hints, and space beyond the end.
  IOStatus RangeSync(uint64_t /*offset*/, uint64_t /*bytes*/, const IOOptions& /*options*/,
                     IODebugContext* /*dbg*/) override {
    return IOStatus::OK();
  }
  IOStatus Allocate(uint64_t /*offset*/, uint64_t /*bytes*/, const IOOptions& /*options*/,
                    IODebugContext* /*dbg*/) override {
    return IOStatus::OK();
  }
  void PrepareWrite(size_t /*offset*/, size_t /*bytes*/, const IOOptions& /*options*/,
                    IODebugContext* /*dbg*/) override {}
  // Not used, and not recorded: to be noticed should that change.
  IOStatus PositionedAppend(const Slice& /*data*/, uint64_t /*offset*/,
                            const IOOptions& /*options*/, IODebugContext* /*dbg*/) override {
    return IOStatus::NotSupported("not recorded");
  }
  IOStatus PositionedAppend(const Slice& /*data*/, uint64_t /*offset*/,
                            const IOOptions& /*options*/,
                            const rocksdb::DataVerificationInfo& /*info*/,
                            IODebugContext* /*dbg*/) override {
    return IOStatus::NotSupported("not recorded");
  }

 private:
  RecordedFile recorded_;
  uint64_t size_;
};

class NoLogger : public rocksdb::Logger {
 public:
  using Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
  size_t GetLogFileSize() const override { return 0; }
};

}  // namespace

class RecordingFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit RecordingFileSystem(DiskLog* log)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), log_(log) {}
  const char* Name() const override { return "recording"; }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext* dbg) override {
    uint32_t number = 0;
    std::string name;
    const IOStatus status = Record([&] {
      const IOStatus made = target()->NewWritableFile(path, options, result, dbg);
      if (!made.ok() || log_ == nullptr) return made;
      name = log_->Relative(path);
      number = log_->Open(name, true);
      if (number == 0) number = log_->Create(name);
      return made;
    });
    if (status.ok()) {
      *result = std::make_unique<RecordingWritableFile>(RecordedFile(log_, number, name), 0,
                                                        std::move(*result));
    }
    return status;
  }

  IOStatus DeleteFile(const std::string& path, const IOOptions& options,
                      IODebugContext* dbg) override {
    return Record([&] {
      const IOStatus status = target()->DeleteFile(path, options, dbg);
      if (status.ok() && log_ != nullptr) log_->AddRemove(log_->Relative(path));
      return status;
    });
  }

  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* dbg) override {
    return Record([&] {
      const IOStatus status = target()->RenameFile(from, to, options, dbg);
      if (status.ok() && log_ != nullptr) log_->AddRename(log_->Relative(from), log_->Relative(to));
      return status;
    });
  }

  IOStatus CreateDir(const std::string& path, const IOOptions& options,
                     IODebugContext* dbg) override {
    return Record([&] {
      const IOStatus status = target()->CreateDir(path, options, dbg);
      if (status.ok() && log_ != nullptr) log_->AddDirectory(log_->Relative(path), true);
      return status;
    });
  }

  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions& options,
                              IODebugContext* dbg) override {
    if (std::filesystem::exists(path)) return IOStatus::OK();
    return CreateDir(path, options, dbg);
  }

  IOStatus DeleteDir(const std::string& path, const IOOptions& options,
                     IODebugContext* dbg) override {
    return Record([&] {
      const IOStatus status = target()->DeleteDir(path, options, dbg);
      if (status.ok() && log_ != nullptr) log_->AddDirectory(log_->Relative(path), false);
      return status;
    });
  }

  IOStatus NewDirectory(const std::string& path, const IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* result,
                        IODebugContext* dbg) override {
    const IOStatus status = target()->NewDirectory(path, options, result, dbg);
    if (status.ok()) *result = std::make_unique<Directory>(log_, path, std::move(*result));
    return status;
  }

  // RocksDB's text log is never synced and means nothing.
  IOStatus NewLogger(const std::string& /*path*/, const IOOptions& /*options*/,
                     std::shared_ptr<rocksdb::Logger>* result, IODebugContext* /*dbg*/) override {
    *result = std::make_shared<NoLogger>();
    return IOStatus::OK();
  }

  // Not used, and not recorded: to be noticed should that change.
  IOStatus ReopenWritableFile(const std::string& /*path*/, const rocksdb::FileOptions& /*options*/,
                              std::unique_ptr<rocksdb::FSWritableFile>* /*result*/,
                              IODebugContext* /*dbg*/) override {
    return IOStatus::NotSupported("not recorded");
  }
  IOStatus ReuseWritableFile(const std::string& /*path*/, const std::string& /*old_path*/,
                             const rocksdb::FileOptions& /*options*/,
                             std::unique_ptr<rocksdb::FSWritableFile>* /*result*/,
                             IODebugContext* /*dbg*/) override {
    return IOStatus::NotSupported("not recorded");
  }
  IOStatus NewRandomRWFile(const std::string& /*path*/, const rocksdb::FileOptions& /*options*/,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* /*result*/,
                           IODebugContext* /*dbg*/) override {
    return IOStatus::NotSupported("not recorded");
  }
  IOStatus LinkFile(const std::string& /*from*/, const std::string& /*to*/,
                    const IOOptions& /*options*/, IODebugContext* /*dbg*/) override {
    return IOStatus::NotSupported("not recorded");
  }

 private:
  class Directory : public rocksdb::FSDirectoryWrapper {
   public:
    Directory(DiskLog* log, std::string path, std::unique_ptr<rocksdb::FSDirectory> directory)
        : FSDirectoryWrapper(std::move(directory)), log_(log), path_(std::move(path)) {}
    IOStatus Fsync(const IOOptions& /*options*/, IODebugContext* /*dbg*/) override {
      RecordingFiles(log_).SyncDirectory(path_);
      return IOStatus::OK();
    }
    IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* dbg,
                                 const rocksdb::DirFsyncOptions& /*why*/) override {
      return Fsync(options, dbg);
    }

   private:
    DiskLog* log_;
    std::string path_;
  };

  template <typename Fn>
  IOStatus Record(const Fn& change) {
    if (log_ == nullptr) return change();
    const std::lock_guard lock(log_->mutex_);
    return change();
  }

  DiskLog* log_;
};

std::shared_ptr<rocksdb::FileSystem> MakeRecordingFileSystem(DiskLog* log) {
  return std::make_shared<RecordingFileSystem>(log);
}

}  // namespace rw::testing
