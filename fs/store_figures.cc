// What monitoring asks of a store: how it is, and how much there is of it.
#include <filesystem>

#include "fs/figures.h"
#include "fs/store_impl.h"

namespace rw {
namespace {

uint64_t BytesBelow(const std::filesystem::path& directory) {
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;  // files come and go
    if (!it->is_regular_file(ignored)) continue;
    const uint64_t size = it->file_size(ignored);
    if (!ignored) bytes += size;
  }
  return bytes;
}

}  // namespace

StoreHealth StoreImpl::Health() {
  StoreHealth health;
  const std::lock_guard lock(catalog_mutex_);
  const auto note_broken = [&](const std::string& name, const VolumeRecord& record) {
    for (const View::Link& link :
         catalog_->Chain(record.timeline(), record.fixed_at.value_or(kInstantMax))) {
      if (const auto broken = broken_.find(link.timeline); broken != broken_.end())
        health.broken[name] = broken->second;
    }
    const auto open = OpenTimeline(record.timeline());
    if (open == nullptr) return;
    if (open->failed()) {
      health.broken[name] = "a sync failed: unmount it everywhere, and mount it again";
    } else if (const std::string why = open->write_failure(); !why.empty()) {
      health.broken[name] = "it takes no writes: " + why;
    }
  };
  for (const auto& [name, record] : catalog_->volumes()) {
    note_broken(name, record);
    if (!record.pressure.empty()) health.pressed[name] = record.pressure;
  }
  health.index_damaged = index_damaged_;
  health.bytes_short = BytesShort();
  health.bytes_free = FreeBytes();
  return health;
}

StoreSizes StoreImpl::Sizes() {
  return {BytesBelow(root_ / "index"), BytesBelow(root_ / "journal"), BytesBelow(root_ / "free")};
}

CollectReport StoreImpl::CollectAndCount(bool thorough) {
  const CollectReport report = CollectOnce(thorough);
  CountCollectorRun(report.journal_bytes, report.moved_bytes, report.versions);
  return report;
}

}  // namespace rw
