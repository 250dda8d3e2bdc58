#include "tests/support/disk_log.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <stdexcept>
#include <thread>

namespace rw::testing {
namespace {

using Kind = DiskEvent::Kind;

void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) throw std::runtime_error("cannot make " + path.string());
  const size_t used = bytes.find_last_not_of('\0') + 1;
  const bool written = write(fd, bytes.data(), used) == static_cast<ssize_t>(used) &&
                       ftruncate(fd, static_cast<off_t>(bytes.size())) == 0;
  close(fd);
  if (!written) throw std::runtime_error("cannot write " + path.string());
}

}  // namespace

void WriteImage(const DiskImage& image, const std::filesystem::path& directory) {
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  for (const auto& [path, contents] : image) {
    if (contents == nullptr) {
      std::filesystem::create_directory(directory / path);
    } else {
      WriteFile(directory / path, *contents);
    }
  }
}

uint64_t HashOf(const DiskImage& image) {
  uint64_t hash = 0;
  for (const auto& [path, contents] : image) {
    hash = XXH3_64bits_withSeed(path.data(), path.size(), hash + (contents == nullptr ? 1 : 2));
    if (contents != nullptr) hash = XXH3_64bits_withSeed(contents->data(), contents->size(), hash);
  }
  return hash;
}

bool DiskEvent::is_name() const {
  return kind == Kind::kCreate || kind == Kind::kMakeDirectory || kind == Kind::kRemoveDirectory ||
         kind == Kind::kRename || kind == Kind::kRemove;
}

DiskLog::DiskLog(std::filesystem::path root, DiskImage base)
    : root_(root.string() + "/"), base_(std::move(base)), names_(BaseNames()) {
  next_file_ = static_cast<uint32_t>(names_.size()) + 1;
}

std::map<std::string, uint32_t> DiskLog::BaseNames() const {
  std::map<std::string, uint32_t> names;
  uint32_t next = 1;
  for (const auto& [path, contents] : base_) {
    if (contents != nullptr) names[path] = next++;
  }
  return names;
}

size_t DiskLog::size() const {
  const std::lock_guard lock(mutex_);
  return events_.size();
}

std::string DiskLog::Relative(const std::string& path) const {
  if (path + "/" == root_) return {};
  if (!path.starts_with(root_)) throw std::runtime_error(path + " is not on the recorded disk");
  std::string relative = path.substr(root_.size());
  while (relative.ends_with('/')) relative.pop_back();
  return relative;
}

uint32_t DiskLog::Create(const std::string& path) {
  const uint32_t file = next_file_++;
  names_[path] = file;
  Add({.kind = Kind::kCreate, .file = file, .path = path});
  return file;
}

uint32_t DiskLog::Open(const std::string& path, bool truncate) {
  const auto found = names_.find(path);
  if (found == names_.end()) return 0;
  if (truncate) Add({.kind = Kind::kResize, .file = found->second, .path = path});
  return found->second;
}

void DiskLog::AddRename(const std::string& from, const std::string& to) {
  const auto found = names_.find(from);
  if (found == names_.end()) return;  // such as RocksDB's text log
  const uint32_t file = found->second;
  names_.erase(found);
  names_[to] = file;
  Add({.kind = Kind::kRename, .file = file, .path = from, .to = to});
}

void DiskLog::AddRemove(const std::string& path) {
  const auto found = names_.find(path);
  if (found == names_.end()) return;
  Add({.kind = Kind::kRemove, .file = found->second, .path = path});
  names_.erase(found);
}

void DiskLog::AddDirectory(const std::string& path, bool made) {
  Add({.kind = made ? Kind::kMakeDirectory : Kind::kRemoveDirectory, .path = path});
}

void DiskLog::AddSync(DiskEvent event) {
  if (lose && lose(event)) {
    ++lost_;
    return;
  }
  Add(std::move(event));
}

void RecordedFile::Change(DiskEvent event, const std::function<void()>& change) {
  if (log_ == nullptr || file_ == 0) return change();
  const std::lock_guard lock(log_->mutex_);
  change();
  event.file = file_;
  event.path = path_;
  log_->Add(std::move(event));
}

void RecordedFile::Sync() {
  if (log_ == nullptr || file_ == 0) return;
  const size_t begun = log_->size();
  std::this_thread::yield();  // others may go on meanwhile
  const std::lock_guard lock(log_->mutex_);
  log_->AddSync({.kind = Kind::kSync, .file = file_, .path = path_, .begun = begun});
}

}  // namespace rw::testing
