// Volumes in the making: filled before anybody sees them. They are volumes under names that no
// volume can have, so that all that keeps volumes keeps them too; a daemon that finds one at its
// start ends it.
#include <errno.h>
#include <spdlog/spdlog.h>

#include "fs/store_impl.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// Volumes' names have no "/".
constexpr std::string_view kUnfinishedPrefix = "unfinished/";

}  // namespace

bool StoreImpl::IsUnfinished(const std::string& name) {
  return name.starts_with(kUnfinishedPrefix);
}

std::string StoreImpl::Begin(const CreateRequest& request) {
  const std::lock_guard lock(catalog_mutex_);
  RetentionPolicy::Parse(request.retention, defaults_);
  if (request.source_kind != SourceKind::kNone)
    throw Refused(EINVAL, "a volume that is to be filled starts empty");
  NeedUnused(request.name);
  VolumeRecord record;
  record.id = catalog_->NextVolumeId();
  record.name = std::string(kUnfinishedPrefix) + std::to_string(record.id);
  record.options = request.options;
  record.size_bytes = request.size_bytes;
  record.retention = request.retention;
  std::string name = record.name;
  const TimelineId timeline = catalog_->NextTimelineId();
  try {
    MakeEmpty(request, std::move(record));
  } catch (...) {
    if (!catalog_->timelines().contains(timeline) && !catalog_->uncertain() &&
        std::filesystem::exists(segments_->TimelineDirectory(timeline))) {
      DiscardTimeline(timeline);
    }
    throw;
  }
  return name;
}

void StoreImpl::NeedUnused(const std::string& name) {
  if (catalog_->Find(name) != nullptr)
    throw Refused(EEXIST, "volume " + name + " exists; give another name, or remove it first");
}

void StoreImpl::Finish(const std::string& unfinished, const std::string& name) {
  OpenVolume(unfinished)->Sync();  // before the name is durable
  const std::lock_guard lock(catalog_mutex_);
  NeedUnused(name);
  VolumeRecord record = catalog_->Need(unfinished);
  // Its history begins now: what it was while it was filled is nobody's.
  WaitForOperations(record.timeline());
  record.created = clock_.Next();
  record.name = name;
  record.bindings.front().since = record.created;
  record.horizon = record.created;
  CatalogStore::Change change;
  change.end_volumes.push_back(unfinished);
  change.put_volumes.push_back(std::move(record));
  catalog_->Commit(change);
}

void StoreImpl::Discard(const std::string& unfinished) {
  const Collector::Pause pause(*collector_);  // it may have the head open
  std::unique_lock lock(catalog_mutex_);
  if (HeadIsOpen(catalog_->Need(unfinished).timeline()))
    throw Refused(EBUSY, unfinished + " is in use");
  CatalogStore::Change change;
  change.end_volumes.push_back(unfinished);
  const std::vector<TimelineId> unneeded = CommitAndDrop(std::move(change));
  lock.unlock();
  for (const TimelineId id : unneeded) DeleteTimelineData(id);
}

void StoreImpl::EndUnfinished(CatalogStore::Change* change) {
  for (const auto& [name, record] : catalog_->volumes()) {
    if (!IsUnfinished(name)) continue;
    spdlog::info("removing what is left of a volume that was being filled");
    change->end_volumes.push_back(name);
  }
}

}  // namespace rw
