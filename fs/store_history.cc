// Instants of volumes, their marks, and what is known of volumes.
#include <errno.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "fs/scanner.h"
#include "fs/store_impl.h"
#include "metadata/inode_totals.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {

StoreImpl::Place StoreImpl::Resolve(const VolumeRecord& source, std::optional<Instant> at) {
  const Instant now = clock_.Next();
  Place place;
  place.at = at.value_or(source.fixed_at.value_or(source.removed.value_or(now)));
  if (place.at > now) {
    throw Refused(ERANGE, "time " + FormatInstant(place.at) + " is in the future; now is " +
                              FormatInstant(now));
  }
  // A snapshot volume goes on showing one instant; what lies before it is reached through it as
  // well.
  if (source.fixed_at) place.at = std::min(place.at, *source.fixed_at);
  const auto timeline = CatalogStore::BoundAt(source, place.at);
  if (!timeline || !catalog_->timelines().contains(*timeline)) RefuseUnkept(source, place.at);
  place.timeline = *timeline;
  if (place.at < catalog_->timelines().at(*timeline).created && !source.fixed_at)
    RefuseUnkept(source, place.at);
  place.chain = catalog_->Chain(place.timeline, place.at);
  const auto& kept = catalog_->Kept();
  for (const View::Link& link : place.chain) {
    const auto found = kept.find(link.timeline);
    if (found == kept.end() || !found->second.Contains(link.until)) RefuseUnkept(source, place.at);
  }
  for (const View::Link& link : place.chain) {
    if (const auto broken = broken_.find(link.timeline); broken != broken_.end())
      throw Refused(EIO, broken->second);
    WaitForOperations(link.timeline, link.until);
  }
  return place;
}

void StoreImpl::RefuseUnkept(const VolumeRecord& source, Instant at) {
  const std::string time = "time " + FormatInstant(at) + " ";
  if (source.fixed_at) {
    throw Refused(ERANGE, time + "is not kept of the snapshot volume " + source.name +
                              ", which shows " + FormatInstant(*source.fixed_at));
  }
  if (at < source.created) {
    throw Refused(ERANGE, time + "is before the first instant of " + source.name + ", which is " +
                              FormatInstant(source.created));
  }
  std::vector<Instant> kept = source.points;
  for (const auto& [label, mark] : catalog_->Marks(source.id)) kept.push_back(mark.at);
  kept.push_back(source.horizon);
  std::sort(kept.begin(), kept.end());
  const auto next = std::lower_bound(kept.begin(), kept.end(), at);
  std::string nearest = "the earliest that is: " + FormatInstant(kept.front());
  if (next != kept.begin() && next != kept.end()) {
    nearest =
        "the nearest that are: " + FormatInstant(*std::prev(next)) + " and " + FormatInstant(*next);
  }
  throw Refused(ERANGE, time + "is no longer kept of " + source.name + "; " + nearest +
                            "; every instant from " + FormatInstant(source.horizon) + " on is");
}

Totals StoreImpl::TotalsAt(TimelineId timeline, Instant at) {
  const TimelineRecord& record = catalog_->timelines().at(timeline);
  const auto covered = index_->FindCovered(timeline);
  if (!covered) return {record.base_bytes, record.base_inodes};
  if (covered->instant <= at) return covered->totals;
  const auto sample = index_->FindSample(timeline, at);
  if (!sample) return {record.base_bytes, record.base_inodes};
  if (sample->at == at) return sample->totals;
  JournalPosition from = sample->position;
  if (from.segment == 0) {
    // Written down when its segment went: go on where the records after it begin.
    for (const SegmentInfo& segment : segments_->List(timeline)) {
      if (from.segment != 0 && segment.generation > sample->at.ns) break;
      from = {segment.number, kSegmentHeaderBytes};
    }
    if (from.segment == 0) return sample->totals;
  }
  Totals totals = sample->totals;
  try {
    JournalScanner scanner(context_.files, segments_->TimelineDirectory(timeline), timeline, from,
                           Instant{});
    while (const auto scanned = scanner.Next()) {
      if (scanned->header.instant > at) return totals;
      if (scanned->header.instant < sample->at) continue;
      totals = RecordBody::Decode(scanned->body, scanned->header.instant, timeline).totals;
    }
    if (scanner.end() >= covered->position) return totals;
    spdlog::warn(
        "the journal {} is damaged or has a gap behind segment {}, byte {}; what it held at "
        "{} is counted",
        segments_->TimelineDirectory(timeline).string(), scanner.end().segment,
        scanner.end().offset, FormatInstant(at));
  } catch (const Refused& refused) {
    spdlog::warn("{}; what timeline {} held at {} is counted", refused.what(), timeline,
                 FormatInstant(at));
  }
  return InodeTotalsCursor(index_.get(), catalog_->Chain(timeline, at)).Count();
}

Instant StoreImpl::SetMark(const std::vector<std::string>& volumes, const std::string& label,
                           const std::string& note, std::optional<Instant> at) {
  std::map<std::string, std::string> marked;
  for (const std::string& name : volumes) marked[name] = "";
  return PutMarks(marked, label, note, at);
}

void StoreImpl::SetConsistentMark(const std::map<std::string, std::string>& volumes,
                                  const std::string& label, const std::string& note, Instant at) {
  PutMarks(volumes, label, note, at);
}

void StoreImpl::NeedNoMark(const VolumeRecord& record, const std::string& label) {
  const auto& marks = catalog_->Marks(record.id);
  if (const auto found = marks.find(label); found != marks.end()) {
    throw Refused(EEXIST, "volume " + record.name + " has a mark " + Quoted(label) + " at " +
                              FormatInstant(found->second.at) + "; remove it first");
  }
}

Instant StoreImpl::PutMarks(const std::map<std::string, std::string>& volumes,
                            const std::string& label, const std::string& note,
                            std::optional<Instant> at) {
  CheckLabel(label);
  if (volumes.empty()) throw Refused(EINVAL, "a mark needs a volume");
  const std::lock_guard lock(catalog_mutex_);
  const Instant made = clock_.Next();
  const Instant instant = at.value_or(made);
  CatalogStore::Change change;
  std::vector<Place> places;
  for (const auto& [name, consistent] : volumes) {
    const VolumeRecord& record = catalog_->Need(name);
    if (!record.writable()) {
      throw Refused(EROFS, "cannot mark " + name +
                               ": it is a snapshot volume, which shows one "
                               "instant; mark the volume that it was made of");
    }
    NeedNoMark(record, label);
    places.push_back(Resolve(record, instant));
    change.put_marks.push_back({record.id, label, instant, made, note, consistent});
  }
  for (const Place& place : places) SyncPlace(place);
  catalog_->Commit(change);
  return instant;
}

void StoreImpl::RemoveMark(const std::string& volume, const std::string& label) {
  const std::lock_guard lock(catalog_mutex_);
  CatalogStore::Change change;
  change.end_marks.push_back(NeedMark(catalog_->Need(volume), label));
  catalog_->Commit(change);
}

std::vector<Mark> StoreImpl::Marks(const std::string& volume) {
  const std::lock_guard lock(catalog_mutex_);
  std::vector<Mark> marks;
  for (const auto& [label, mark] : catalog_->Marks(catalog_->Need(volume).id))
    marks.push_back(mark);
  std::stable_sort(marks.begin(), marks.end(),
                   [](const Mark& a, const Mark& b) { return a.at < b.at; });
  return marks;
}

const Mark& StoreImpl::NeedMark(const VolumeRecord& record, const std::string& label) {
  const auto& marks = catalog_->Marks(record.id);
  const auto found = marks.find(label);
  if (found == marks.end())
    throw Refused(ENOENT, "volume " + record.name + " has no mark " + Quoted(label));
  return found->second;
}

Instant StoreImpl::InstantOf(const std::string& volume, std::string_view time) {
  const std::lock_guard lock(catalog_mutex_);
  const VolumeRecord& record = catalog_->NeedSource(volume);
  const auto& marks = catalog_->Marks(record.id);
  if (const auto found = marks.find(std::string(time)); found != marks.end())
    return found->second.at;
  try {
    return ParseTime(time, clock_.Next());
  } catch (const Refused& refused) {
    throw Refused(refused.error(), std::string(refused.what()) + "; nor is it a mark of " + volume);
  }
}

std::optional<VolumeRecord> StoreImpl::Find(const std::string& name) {
  const std::lock_guard lock(catalog_mutex_);
  const VolumeRecord* record = catalog_->Find(name);
  return record == nullptr ? std::nullopt : std::optional(*record);
}

std::vector<VolumeRecord> StoreImpl::List() {
  const std::lock_guard lock(catalog_mutex_);
  std::vector<VolumeRecord> records;
  for (const auto& [name, record] : catalog_->volumes()) {
    if (!IsUnfinished(name)) records.push_back(record);
  }
  return records;
}

uint64_t StoreImpl::DiskBytes(TimelineId timeline) {
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(segments_->TimelineDirectory(timeline), error), end;
       !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const uint64_t size = it->file_size(ignored);
    if (!ignored) bytes += size;
  }
  return bytes;
}

VolumeStatus StoreImpl::Status(const std::string& name) {
  std::unique_lock lock(catalog_mutex_);
  VolumeStatus status;
  status.record = catalog_->Need(name);
  Totals totals;
  if (status.record.fixed_at) {
    const auto chain = catalog_->Chain(status.record.timeline(), *status.record.fixed_at);
    totals = TotalsAt(chain.front().timeline, chain.front().until);
    status.history_first = status.history_last = *status.record.fixed_at;
  } else {
    const TimelineId timeline = status.record.timeline();
    totals = TotalsAt(timeline, kInstantMax);
    const auto covered = index_->FindCovered(timeline);
    status.history_last =
        covered ? covered->last_operation : catalog_->timelines().at(timeline).created;
    status.history_first = std::max(status.record.horizon, status.record.created);
    status.policy = PolicyOf(status.record);
    status.points = status.record.points.size();
    status.pressure = status.record.pressure;
    status.pins = PinsOf(status.record).size();
  }
  lock.unlock();
  status.live_bytes = totals.bytes;
  status.live_inodes = totals.inodes;
  status.history_bytes = HistoryBytes(status.record);
  status.write_bytes_per_second = write_rates_.BytesPerSecond(status.record.timeline());
  if (status.write_bytes_per_second > 0 && !status.record.fixed_at) {
    const uint64_t room = FreeBytes() + status.history_bytes;
    const double seconds =
        static_cast<double>(room) / static_cast<double>(status.write_bytes_per_second);
    status.fits_ns = static_cast<uint64_t>(std::min(seconds, 1e9)) * 1'000'000'000;
  }
  return status;
}

uint64_t StoreImpl::HistoryBytes(const VolumeRecord& record) {
  std::set<TimelineId> timelines;
  for (const Binding& binding : record.bindings) {
    if (binding.timeline != kControlTimeline) timelines.insert(binding.timeline);
  }
  uint64_t bytes = 0;
  for (const TimelineId id : timelines) bytes += DiskBytes(id);
  return bytes;
}

void CheckLabel(std::string_view label) {
  const auto refuse = [&](const char* why) {
    throw Refused(EINVAL, "label " + Quoted(label) + " refused: " + why +
                              "; accepted are 1 to 255 bytes of UTF-8 without / and control "
                              "characters, not beginning with a digit or one of @ . -");
  };
  if (const char* flaw = FlawOfName(label)) refuse(flaw);
  if (label.size() > kMaxNameBytes) refuse("it is longer than 255 bytes");
  if (label == "now") refuse("it is a time");
  if (std::string_view("0123456789@.-").find(label.front()) != label.npos)
    refuse("it could be taken for something else");
}

}  // namespace rw
