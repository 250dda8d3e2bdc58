// Making, rolling back and removing volumes.
#include <errno.h>

#include "fs/store_impl.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {

namespace {

constexpr uint32_t kDefaultRootMode = 0755;

}  // namespace

TimelineRecord StoreImpl::ForkTimeline(const Place& place) {
  const View::Link& parent = place.chain.front();
  TimelineRecord record;
  record.id = catalog_->NextTimelineId();
  record.parent = parent.timeline;
  record.fork = parent.until;
  record.first_ino = std::max(index_->LastIno(parent.timeline) + 1, parent.first_ino);
  const Totals totals = TotalsAt(parent.timeline, parent.until);
  record.base_bytes = totals.bytes;
  record.base_inodes = totals.inodes;
  return record;
}

void StoreImpl::GoBack(VolumeRecord record, const Place& place, TimelineId next,
                       CatalogStore::Change* change, std::optional<Instant> undoes) {
  TimelineRecord timeline = ForkTimeline(place);
  timeline.id = next;
  timeline.created = clock_.Next();
  record.bindings.push_back({timeline.created, timeline.id, undoes});
  record.rolled_back_to = place.at;
  change->put_volumes.push_back(std::move(record));
  change->put_timelines.push_back(timeline);
}

void StoreImpl::Create(const CreateRequest& request) {
  std::optional<Collector::Pause> pause;  // it may have the head open
  if (request.source_kind == SourceKind::kRollback) pause.emplace(*collector_);
  const std::lock_guard lock(catalog_mutex_);
  RetentionPolicy::Parse(request.retention, defaults_);  // refuses what contradicts itself
  MarkSchedule::Parse(request.schedule);
  if (const VolumeRecord* existing = catalog_->Find(request.name)) {
    if (existing->options == request.options) return;
    throw Refused(EEXIST, "volume " + request.name +
                              " exists with other options; options cannot be changed: use another "
                              "name, or remove it first");
  }
  VolumeRecord record;
  record.name = request.name;
  record.id = catalog_->NextVolumeId();
  record.options = request.options;
  record.source = request.source;
  record.size_bytes = request.size_bytes;
  record.retention = request.retention;
  record.schedule = request.schedule;
  const TimelineId next_timeline = catalog_->NextTimelineId();
  VolumeRecord source;
  if (request.source_kind == SourceKind::kRollback) {
    source = catalog_->Need(request.source);
  } else if (request.source_kind != SourceKind::kNone) {
    source = catalog_->NeedSource(request.source);
  }
  try {
    switch (request.source_kind) {
      case SourceKind::kNone:
        MakeEmpty(request, std::move(record));
        break;
      case SourceKind::kCloneOf:
        MakeClone(request, source, std::move(record));
        break;
      case SourceKind::kSnapshotOf:
        MakeSnapshot(request, source, std::move(record));
        break;
      case SourceKind::kRollback:
        RollBack(request, source, std::move(record));
        break;
    }
  } catch (...) {
    // Most refusals come before anything was made; then there is nothing to flush the index for.
    if (!catalog_->timelines().contains(next_timeline) && !catalog_->uncertain() &&
        std::filesystem::exists(segments_->TimelineDirectory(next_timeline))) {
      DiscardTimeline(next_timeline);
    }
    throw;
  }
}

void StoreImpl::DiscardTimeline(TimelineId id) {
  segments_->Forget(id);
  index_->DropTimeline(id);
  index_->Flush();  // the number will be used again
  try {
    files_->RemoveWithFiles(segments_->TimelineDirectory(id));
  } catch (const Refused&) {
    // The next start tries again.
  }
}

void StoreImpl::MakeEmpty(const CreateRequest& request, VolumeRecord record) {
  TimelineRecord timeline;
  timeline.id = catalog_->NextTimelineId();
  timeline.created = clock_.Next();
  {
    const auto head = OpenHead(timeline, {{timeline.id, kInstantMax, timeline.first_ino}});
    head->MakeRoot(request.mode.value_or(kDefaultRootMode), request.uid.value_or(0),
                   request.gid.value_or(0));
    head->Sync();
    record.created = head->last_instant();
  }
  record.bindings.push_back({record.created, timeline.id});
  record.horizon = record.created;
  CatalogStore::Change change;
  change.put_volumes.push_back(record);
  change.put_timelines.push_back(timeline);
  catalog_->Commit(change);
}

void StoreImpl::MakeClone(const CreateRequest& request, const VolumeRecord& source,
                          VolumeRecord record) {
  const Place place = Resolve(source, request.at);
  SyncPlace(place);
  TimelineRecord timeline = ForkTimeline(place);
  if (request.size_bytes && timeline.base_bytes > *request.size_bytes) {
    throw Refused(EINVAL, "size refused: " + source.name + " held " +
                              std::to_string(timeline.base_bytes) + " bytes then, more than " +
                              std::to_string(*request.size_bytes));
  }
  CheckRetention(record, {}, timeline.base_bytes);
  timeline.created = clock_.Next();
  record.role = Role::kClone;
  record.source_at = place.at;
  record.created = timeline.created;
  if (request.mode || request.uid || request.gid) {
    std::vector<View::Link> chain = place.chain;
    chain.insert(chain.begin(), {timeline.id, kInstantMax, timeline.first_ino});
    const auto head = OpenHead(timeline, std::move(chain));
    AttrChange attributes;
    attributes.mode = request.mode;
    attributes.uid = request.uid;
    attributes.gid = request.gid;
    head->SetAttr({}, kRootIno, attributes);
    head->Sync();
    record.created = head->last_instant();
  }
  record.bindings.push_back({record.created, timeline.id});
  record.horizon = record.created;
  CatalogStore::Change change;
  change.put_volumes.push_back(record);
  change.put_timelines.push_back(timeline);
  catalog_->Commit(change);
}

void StoreImpl::MakeSnapshot(const CreateRequest& request, const VolumeRecord& source,
                             VolumeRecord record) {
  if (request.mode || request.uid || request.gid || request.size_bytes) {
    throw Refused(EINVAL,
                  "uid, gid, mode and size cannot be given for a snapshot volume: it is read-only");
  }
  const Place place = Resolve(source, request.at);
  SyncPlace(place);
  record.role = Role::kSnapshot;
  record.created = clock_.Next();
  record.fixed_at = place.at;
  record.bindings.push_back({record.created, place.timeline});
  CatalogStore::Change change;
  change.put_volumes.push_back(record);
  catalog_->Commit(change);
}

void StoreImpl::RollBack(const CreateRequest& request, const VolumeRecord& source,
                         VolumeRecord record) {
  if (request.mode || request.uid || request.gid || request.size_bytes) {
    throw Refused(EINVAL, "uid, gid, mode and size cannot be given for a rollback");
  }
  if (!request.at) throw Refused(EINVAL, "rollback needs at=TIME: where to go back to");
  if (!source.writable()) {
    throw Refused(EROFS, "cannot roll back " + source.name +
                             ": it is a snapshot volume, which never changes");
  }
  const Place place = Resolve(source, request.at);
  SyncPlace(place);
  if (HeadIsOpen(source.timeline()))
    throw Refused(EBUSY, "cannot roll back " + source.name + ": it is in use");
  // The new volume shows what there was up to here; the old timeline gets no operation any more.
  record.role = Role::kSnapshot;
  record.fixed_at = clock_.Next();
  record.created = *record.fixed_at;
  record.bindings.push_back({record.created, source.timeline()});
  CatalogStore::Change change;
  change.put_volumes.push_back(std::move(record));
  GoBack(source, place, catalog_->NextTimelineId(), &change);
  catalog_->Commit(change);
}

void StoreImpl::Remove(const std::string& name) {
  const Collector::Pause pause(*collector_);  // it may have the head open, and reads what goes
  std::unique_lock lock(catalog_mutex_);
  const VolumeRecord record = catalog_->Need(name);
  if (record.writable() && HeadIsOpen(record.timeline()))
    throw Refused(EBUSY, "cannot remove " + name + ": it is in use");
  CatalogStore::Change change;
  change.end_volumes.push_back(name);
  const uint64_t trash_ns = PolicyOf(record).trash_ns;
  if (trash_ns > 0) {
    VolumeRecord removed = record;
    removed.removed = clock_.Next();
    removed.expires = Instant{removed.removed->ns + trash_ns};
    change.put_removed.push_back(std::move(removed));
  } else {
    EndMarks(record.id, &change);
  }
  const std::vector<TimelineId> unneeded = CommitAndDrop(std::move(change));
  lock.unlock();  // it may take long, and nobody can reach them any more
  for (const TimelineId id : unneeded) DeleteTimelineData(id);
}

void StoreImpl::EndMarks(VolumeId volume, CatalogStore::Change* change) {
  for (const auto& [label, mark] : catalog_->Marks(volume)) change->end_marks.push_back(mark);
}

std::vector<RemovedVolume> StoreImpl::ListRemoved() {
  std::unique_lock lock(catalog_mutex_);
  std::vector<RemovedVolume> list;
  for (const auto& [id, record] : catalog_->removed())
    list.push_back({record, *record.removed, *record.expires, 0});
  lock.unlock();
  for (RemovedVolume& removed : list) removed.history_bytes = HistoryBytes(removed.record);
  std::sort(list.begin(), list.end(),
            [](const RemovedVolume& a, const RemovedVolume& b) { return a.removed > b.removed; });
  return list;
}

void StoreImpl::Purge(const std::string& name) {
  const Collector::Pause pause(*collector_);
  std::unique_lock lock(catalog_mutex_);
  CatalogStore::Change change;
  for (const auto& [id, record] : catalog_->removed()) {
    if (record.name != name) continue;
    change.end_removed.push_back(id);
    EndMarks(id, &change);
  }
  if (change.end_removed.empty()) {
    if (catalog_->Find(name) != nullptr) {
      throw Refused(EBUSY, "cannot purge " + name +
                               ": it was not removed; docker volume rm (or rewind rm) it first");
    }
    throw Refused(ENOENT, "no removed volume is named " + name);
  }
  const std::vector<TimelineId> unneeded = CommitAndDrop(std::move(change));
  lock.unlock();
  for (const TimelineId id : unneeded) DeleteTimelineData(id);
  collect_soon_ = true;  // what a parent timeline kept for it
}

void StoreImpl::DeleteTimelineData(TimelineId id) {
  segments_->Forget(id);
  index_->DropTimeline(id);
  index_->Flush();
  // The files must not outlive the index's knowledge that they are gone, nor the other way round:
  // the catalog entry stays until both are.
  files_->RemoveWithFiles(segments_->TimelineDirectory(id));
  context_.files->SyncDirectory(root_ / "journal");
  const std::lock_guard lock(catalog_mutex_);
  CatalogStore::Change change;
  change.end_timelines.push_back(id);
  catalog_->Commit(change);
}

}  // namespace rw
