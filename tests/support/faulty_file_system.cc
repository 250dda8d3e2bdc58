// The layer under the index, of a disk that fails.
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "tests/support/faulty_files.h"

namespace rw::testing {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

IOStatus ToStatus(int error) {
  if (error == 0) return IOStatus::OK();
  return error == ENOSPC ? IOStatus::NoSpace("the disk is full")
                         : IOStatus::IOError("the disk fails");
}

class FaultyWritableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultyWritableFile(FailingCalls* calls, std::unique_ptr<rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)), calls_(calls) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* dbg) override {
    const IOStatus failure = ToStatus(calls_->Count(false));
    if (failure.ok()) return target()->Append(data, options, dbg);
    // A part of it gets there.
    target()->Append(Slice(data.data(), data.size() / 2), options, dbg).PermitUncheckedError();
    return failure;
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& /*info*/, IODebugContext* dbg) override {
    return Append(data, options, dbg);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* dbg) override {
    const IOStatus failure = ToStatus(calls_->Count(true));
    return failure.ok() ? target()->Sync(options, dbg) : failure;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return Sync(options, dbg);
  }

 private:
  FailingCalls* const calls_;
};

class FaultyRandomAccessFile : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  FaultyRandomAccessFile(FailingCalls* calls, std::unique_ptr<rocksdb::FSRandomAccessFile> file)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), calls_(calls) {}

  IOStatus Read(uint64_t offset, size_t size, const IOOptions& options, Slice* result,
                char* scratch, IODebugContext* dbg) const override {
    const IOStatus failure = ToStatus(calls_->CountRead());
    return failure.ok() ? target()->Read(offset, size, options, result, scratch, dbg) : failure;
  }
  IOStatus MultiRead(rocksdb::FSReadRequest* requests, size_t count, const IOOptions& options,
                     IODebugContext* dbg) override {
    const IOStatus failure = ToStatus(calls_->CountRead());
    return failure.ok() ? target()->MultiRead(requests, count, options, dbg) : failure;
  }

 private:
  FailingCalls* const calls_;
};

class FaultyFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit FaultyFileSystem(FailingCalls* calls)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), calls_(calls) {}
  const char* Name() const override { return "faulty"; }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result,
                           IODebugContext* dbg) override {
    if (const int error = calls_->Count(false)) return ToStatus(error);
    const IOStatus status = target()->NewWritableFile(path, options, result, dbg);
    if (status.ok()) *result = std::make_unique<FaultyWritableFile>(calls_, std::move(*result));
    return status;
  }
  IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                               IODebugContext* dbg) override {
    const IOStatus status = target()->NewRandomAccessFile(path, options, result, dbg);
    if (status.ok()) *result = std::make_unique<FaultyRandomAccessFile>(calls_, std::move(*result));
    return status;
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* dbg) override {
    if (const int error = calls_->Count(false)) return ToStatus(error);
    return target()->RenameFile(from, to, options, dbg);
  }

 private:
  FailingCalls* const calls_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> MakeFaultyFileSystem(FailingCalls* calls) {
  return std::make_shared<FaultyFileSystem>(calls);
}

}  // namespace rw::testing
