// Rolling back several volumes to one instant, all or none.
#include <errno.h>

#include <set>

#include "fs/store_impl.h"
#include "metadata/refused.h"

namespace rw {

std::vector<StoreImpl::Place> StoreImpl::ResolveRollBack(const std::set<std::string>& volumes,
                                                         Instant at) {
  if (volumes.empty()) throw Refused(EINVAL, "a rollback needs a volume");
  std::vector<Place> places;
  for (const std::string& name : volumes) {
    const VolumeRecord& record = catalog_->Need(name);
    if (!record.writable()) {
      throw Refused(EROFS,
                    "cannot roll back " + name + ": it is a snapshot volume, which never changes");
    }
    places.push_back(Resolve(record, at));
  }
  return places;
}

void StoreImpl::CheckRollBack(const std::vector<std::string>& volumes, Instant at) {
  const std::lock_guard lock(catalog_mutex_);
  ResolveRollBack({volumes.begin(), volumes.end()}, at);
}

Instant StoreImpl::RollBackAll(const std::vector<std::string>& volumes, Instant at,
                               const std::string& label, const std::string& note) {
  if (!label.empty()) CheckLabel(label);
  const Collector::Pause pause(*collector_);  // it may have heads open
  const std::lock_guard lock(catalog_mutex_);
  const std::set<std::string> names(volumes.begin(), volumes.end());
  const std::vector<Place> places = ResolveRollBack(names, at);
  for (const std::string& name : names) {
    const VolumeRecord& record = catalog_->Need(name);
    if (HeadIsOpen(record.timeline()))
      throw Refused(EBUSY, "cannot roll back " + name + ": it is in use");
    if (!label.empty()) NeedNoMark(record, label);
  }
  // What the volumes are up to here is of their old timelines, which get no operation any more.
  const Instant before = clock_.Next();
  CatalogStore::Change change;
  TimelineId next = catalog_->NextTimelineId();
  auto place = places.begin();
  for (const std::string& name : names) {
    const VolumeRecord& record = catalog_->Need(name);
    SyncPlace(*place);
    if (!label.empty()) {
      SyncPlace(Resolve(record, before));
      change.put_marks.push_back({record.id, label, before, before, note, {}});
    }
    GoBack(record, *place++, next++, &change);
  }
  catalog_->Commit(change);
  return before;
}

}  // namespace rw
