#include "fs/segment_pool.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <string>

#include "fs/segment.h"

namespace rw {

SegmentPool::SegmentPool(FileLayer* files, std::filesystem::path directory, uint64_t segment_bytes)
    : files_(files), directory_(std::move(directory)), segment_bytes_(segment_bytes) {
  files_->MakeDirectory(directory_);
  for (const std::string& name : files_->List(directory_)) {
    uint64_t number = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data(), end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end || PathOf(number).filename() != name)
      continue;
    next_number_ = std::max(next_number_, number + 1);
    const uint64_t bytes = files_->Open(PathOf(number), FileLayer::Mode::kRead)->Size();
    // Else it was being freed, or begun, when the machine died.
    if (bytes > segment_bytes_ || bytes < kSegmentHeaderBytes ||
        !HasZeroHeader(files_, PathOf(number))) {
      files_->Remove(PathOf(number));
      continue;
    }
    free_.push_back({number, bytes});
    bytes_ += bytes;
  }
}

void SegmentPool::ZeroHeader(const std::filesystem::path& path) {
  const auto file = files_->Open(path, FileLayer::Mode::kReadWrite);
  std::string zeros(kSegmentHeaderBytes, '\0');
  const iovec part{zeros.data(), zeros.size()};
  file->WriteAt({&part, 1}, 0);
  file->SyncData();
}

std::optional<SegmentPool::Entry> SegmentPool::Reserve(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > segment_bytes_ || bytes < segment_bytes_ / 4 * 3 || bytes_ + bytes > limit_)
    return std::nullopt;
  bytes_ += bytes;
  return Entry{next_number_++, bytes};
}

void SegmentPool::Free(const std::vector<std::filesystem::path>& segments) {
  std::vector<Entry> taken;
  std::set<std::filesystem::path> directories = {directory_};
  for (const std::filesystem::path& path : segments) {
    const auto entry = Reserve(files_->Open(path, FileLayer::Mode::kRead)->Size());
    if (!entry) {
      files_->Remove(path);
      continue;
    }
    taken.push_back(*entry);
    directories.insert(path.parent_path());
    files_->Rename(path, PathOf(entry->number));
  }
  if (taken.empty()) return;
  // A header of zeros must not come to light where the segment was.
  for (const auto& directory : directories) files_->SyncDirectory(directory);
  for (const Entry& entry : taken) {
    ZeroHeader(PathOf(entry.number));
    const std::lock_guard lock(mutex_);
    free_.push_back(entry);
  }
}

std::unique_ptr<File> SegmentPool::Take(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) return nullptr;
  const Entry entry = free_.back();
  free_.pop_back();
  bytes_ -= entry.bytes;
  files_->Rename(PathOf(entry.number), path);
  return files_->Open(path, FileLayer::Mode::kReadWrite);
}

void SegmentPool::Limit(uint64_t bytes) {
  std::vector<Entry> too_much;
  {
    const std::lock_guard lock(mutex_);
    limit_ = bytes;
    while (bytes_ > limit_ && !free_.empty()) {
      too_much.push_back(free_.back());
      bytes_ -= free_.back().bytes;
      free_.pop_back();
    }
  }
  for (const Entry& entry : too_much) files_->Remove(PathOf(entry.number));
}

}  // namespace rw
