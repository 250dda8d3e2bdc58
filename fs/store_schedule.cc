// Marks that volumes get by themselves. See fs/README.md, "Schedules".
#include <spdlog/spdlog.h>

#include <algorithm>

#include "fs/store_impl.h"
#include "metadata/refused.h"

namespace rw {
namespace {

std::vector<Mark> ScheduledMarks(const std::map<std::string, Mark>& all) {
  std::vector<Mark> marks;
  for (const auto& [label, mark] : all) {
    if (mark.by_schedule) marks.push_back(mark);
  }
  std::sort(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) {
    return std::pair(a.at, a.label) < std::pair(b.at, b.label);
  });
  return marks;
}

}  // namespace

// Times are the wall clock's: if that is put back by more than a period, the schedule goes on from
// there. Of times that were missed only the last gets a mark. It is of that very instant if every
// write since then is kept: whenever the mark is made, it shows what its name says.
void StoreImpl::RunSchedule(const VolumeRecord& record, CatalogStore::Change* change,
                            std::vector<Place>* places) {
  const MarkSchedule schedule = MarkSchedule::Parse(record.schedule);
  const auto& all = catalog_->Marks(record.id);
  std::vector<Mark> marks = ScheduledMarks(all);
  const Instant wall{WallNanoseconds()};
  const Instant now = std::max(wall, clock_.last());
  if (schedule.every_ns != 0) {
    const Instant time = schedule.LastTime(wall);
    const bool went_back = record.scheduled.ns > time.ns + schedule.every_ns;
    const Instant since = std::max(record.scheduled, record.created);
    if (time > since || went_back) {
      VolumeRecord seen = record;
      seen.scheduled = time;
      change->put_volumes.push_back(seen);
      const std::string label = ScheduledLabel(time);
      if (!all.contains(label)) {
        // Instants never go back: if the clock does, that time was something else.
        const bool exact = !went_back && time >= record.horizon && time <= now;
        Mark mark;
        mark.volume = record.id;
        mark.label = label;
        mark.at = exact ? time : now;
        mark.made = now;
        mark.by_schedule = true;
        places->push_back(Resolve(record, mark.at));
        change->put_marks.push_back(mark);
        marks.push_back(mark);
      }
    }
  }
  std::vector<Instant> instants;
  instants.reserve(marks.size());
  for (const Mark& mark : marks) instants.push_back(mark.at);
  const size_t expired = schedule.CountExpired(instants, now);
  for (size_t i = 0; i < expired; ++i) change->end_marks.push_back(marks[i]);
}

void StoreImpl::RunSchedules() {
  const std::lock_guard lock(catalog_mutex_);
  CatalogStore::Change change;
  std::vector<Place> places;
  for (const auto& [name, record] : catalog_->volumes()) {
    if (!record.writable() || record.schedule.empty() || IsUnfinished(name)) continue;
    try {
      RunSchedule(record, &change, &places);
    } catch (const Refused& refused) {
      spdlog::error("the schedule of {}: {}", name, refused.what());
    }
  }
  for (const Place& place : places) SyncPlace(place);
  if (!change.empty()) catalog_->Commit(change);
  if (!change.end_marks.empty()) collect_soon_ = true;
}

std::vector<ScheduleStatus> StoreImpl::Schedules(const std::optional<std::string>& volume) {
  const std::lock_guard lock(catalog_mutex_);
  if (volume) catalog_->Need(*volume);
  std::vector<ScheduleStatus> list;
  for (const auto& [name, record] : catalog_->volumes()) {
    if ((volume && *volume != name) || IsUnfinished(name)) continue;
    ScheduleStatus status;
    status.volume = name;
    status.schedule = MarkSchedule::Parse(record.schedule);
    status.marks = ScheduledMarks(catalog_->Marks(record.id)).size();
    if (record.scheduled != Instant{}) status.last = record.scheduled;
    if (status.schedule.every_ns != 0)
      status.next = status.schedule.NextTime(Instant{WallNanoseconds()});
    if (status.schedule.every_ns != 0 || status.marks > 0) list.push_back(std::move(status));
  }
  return list;
}

}  // namespace rw
