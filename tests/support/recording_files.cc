// The layer under the journals that records what it is asked for.
#include "tests/support/disk_log.h"

namespace rw::testing {
namespace {

using Kind = DiskEvent::Kind;

class RecordingFile : public File {
 public:
  RecordingFile(RecordedFile recorded, std::unique_ptr<File> file)
      : recorded_(std::move(recorded)), file_(std::move(file)) {}

  void WriteAt(std::span<const iovec> parts, uint64_t offset) override {
    recorded_.TellOfWrite();
    std::string data;
    for (const iovec& part : parts) data.append(static_cast<char*>(part.iov_base), part.iov_len);
    recorded_.Change({.kind = Kind::kWrite, .offset = offset, .data = std::move(data)},
                     [&] { file_->WriteAt(parts, offset); });
  }
  size_t ReadAt(std::span<char> out, uint64_t offset) override {
    return file_->ReadAt(out, offset);
  }
  void Allocate(uint64_t bytes) override {
    if (bytes > file_->Size()) Truncate(bytes);
  }
  void Zero(uint64_t offset, uint64_t length) override {
    recorded_.Change({.kind = Kind::kZero, .offset = offset, .length = length},
                     [&] { file_->Zero(offset, length); });
  }
  void Truncate(uint64_t bytes) override {
    recorded_.Change({.kind = Kind::kResize, .length = bytes}, [&] { file_->Truncate(bytes); });
  }
  void SyncData() override { recorded_.Sync(); }
  uint64_t Size() override { return file_->Size(); }

 private:
  RecordedFile recorded_;
  std::unique_ptr<File> file_;
};

}  // namespace

std::unique_ptr<File> RecordingFiles::Open(const std::filesystem::path& path, Mode mode) {
  if (mode == Mode::kRead) return Posix()->Open(path, mode);
  uint32_t number = 0;
  std::unique_ptr<File> file;
  std::string name;
  if (log_ == nullptr) {
    file = Posix()->Open(path, mode);
  } else {
    const std::lock_guard lock(log_->mutex_);
    file = Posix()->Open(path, mode);
    name = log_->Relative(path);
    number = log_->Open(name, mode == Mode::kCreate);
    if (number == 0) number = log_->Create(name);
  }
  return std::make_unique<RecordingFile>(RecordedFile(log_, number, name), std::move(file));
}

void RecordingFiles::Remove(const std::filesystem::path& path) {
  if (log_ == nullptr) return Posix()->Remove(path);
  const std::lock_guard lock(log_->mutex_);
  Posix()->Remove(path);
  log_->AddRemove(log_->Relative(path));
}

void RecordingFiles::Rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (log_ == nullptr) return Posix()->Rename(from, to);
  const std::lock_guard lock(log_->mutex_);
  Posix()->Rename(from, to);
  log_->AddRename(log_->Relative(from), log_->Relative(to));
}

void RecordingFiles::MakeDirectory(const std::filesystem::path& path) {
  if (log_ == nullptr) return Posix()->MakeDirectory(path);
  const std::lock_guard lock(log_->mutex_);
  if (std::filesystem::exists(path)) return;
  Posix()->MakeDirectory(path);
  log_->AddDirectory(log_->Relative(path), true);
}

void RecordingFiles::RemoveDirectory(const std::filesystem::path& path) {
  if (log_ == nullptr) return Posix()->RemoveDirectory(path);
  const std::lock_guard lock(log_->mutex_);
  if (!std::filesystem::exists(path)) return;
  Posix()->RemoveDirectory(path);
  log_->AddDirectory(log_->Relative(path), false);
}

void RecordingFiles::SyncDirectory(const std::filesystem::path& path) {
  if (log_ == nullptr) return;
  const std::lock_guard lock(log_->mutex_);
  log_->AddSync(
      {.kind = Kind::kSyncDirectory, .path = log_->Relative(path), .begun = log_->events_.size()});
}

std::vector<std::string> RecordingFiles::List(const std::filesystem::path& path) {
  return Posix()->List(path);
}

}  // namespace rw::testing
