// Settings of volumes, what they would do, and what pins keep.
#include <errno.h>

#include <algorithm>

#include "fs/pin_bytes.h"
#include "fs/store_impl.h"
#include "metadata/quantity.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

constexpr const char* kSizeSetting = "size";
constexpr const char* kSettingNames = "retention, keep, history-limit, trash and size";

// What `changes` make of the settings; an empty value means the default again.
RetentionSettings Changed(RetentionSettings settings, const RetentionSettings& changes) {
  for (const auto& [key, value] : changes) {
    if (value.empty()) {
      settings.erase(key);
    } else {
      settings[key] = value;
    }
  }
  return settings;
}

void CheckHasHistory(const VolumeRecord& record) {
  if (record.writable()) return;
  throw Refused(EROFS, record.name +
                           " is a snapshot volume, which shows one instant and keeps it "
                           "for as long as it exists: it has no such settings");
}

}  // namespace

void StoreImpl::Set(const std::string& name, const std::map<std::string, std::string>& changes) {
  const std::lock_guard lock(catalog_mutex_);
  VolumeRecord record = catalog_->Need(name);
  CheckHasHistory(record);
  const uint64_t live = TotalsAt(record.timeline(), kInstantMax).bytes;
  RetentionSettings retention = changes;
  if (const auto size = retention.find(kSizeSetting); size != retention.end()) {
    record.size_bytes.reset();
    if (!size->second.empty() && size->second != "none")
      record.size_bytes = ParseByteCount(kSizeSetting, size->second);
    if (record.size_bytes && *record.size_bytes < live) {
      throw Refused(EINVAL, "size=" + size->second + " refused: " + name + " holds " +
                                FormatByteCount(live) + " now");
    }
    retention.erase(size);
  }
  for (const char* key : {kMarkEvery, kMarkKeep}) {
    const auto setting = retention.find(key);
    if (setting == retention.end()) continue;
    record.schedule.erase(key);
    if (!setting->second.empty()) record.schedule[key] = setting->second;
    retention.erase(setting);
  }
  MarkSchedule::Parse(record.schedule);
  record.retention = Changed(record.retention, retention);
  CheckRetention(record, retention, live);
  CatalogStore::Change change;
  change.put_volumes.push_back(record);
  catalog_->Commit(change);
  collect_soon_ = true;
  collector_->Wake();
  const std::lock_guard heads(heads_mutex_);
  if (const auto head = heads_.find(record.timeline()); head != heads_.end()) {
    if (const auto volume = head->second.volume.lock())
      volume->LimitBytes(record.size_bytes.value_or(UINT64_MAX));
  }
}

CollectReport StoreImpl::DryRun(const std::string& name, const RetentionSettings& changes) {
  std::unique_lock lock(catalog_mutex_);
  VolumeRecord record = catalog_->Need(name);
  CheckHasHistory(record);
  record.retention = Changed(record.retention, changes);
  CheckRetention(record, changes, TotalsAt(record.timeline(), kInstantMax).bytes);
  const Instant now = clock_.Next();
  CatalogStore::Change change;
  MoveHorizon(record, now, &change);
  if (!change.put_volumes.empty()) record = change.put_volumes.front();
  std::set<TimelineId> own;
  for (const Binding& binding : record.bindings) own.insert(binding.timeline);
  lock.unlock();

  Survey survey = MakeSurvey(&record);
  // Timelines of this volume that nobody would need go as a whole.
  std::erase_if(survey.timelines,
                [&](const auto& timeline) { return !own.contains(timeline.first); });
  CollectReport report;
  report.horizon = std::max(record.horizon, record.created);
  report.points = record.points.size();
  for (const TimelineId id : own) {
    if (id != kControlTimeline && !survey.kept.contains(id)) report.journal_bytes += DiskBytes(id);
  }
  FindCandidates(&survey, true);
  Sweep::Options options;
  options.apply = false;
  Sweep sweep(index_.get(), survey.timelines, &survey.live, std::move(options));
  sweep.Run();
  report.versions = sweep.counts().dropped;
  for (Candidate& candidate : survey.candidates) {
    candidate.live_bytes = survey.live.LiveBytes(candidate.timeline, candidate.segment);
    report.journal_bytes += candidate.dead_bytes();
    if (candidate.dead_bytes() > 0) report.moved_bytes += candidate.live_bytes;
  }
  return report;
}

void StoreImpl::CheckRetention(const VolumeRecord& record, const RetentionSettings& changes,
                               uint64_t live) {
  const RetentionPolicy policy = RetentionPolicy::Parse(record.retention, defaults_);
  const RetentionSettings known = policy.ToText();
  for (const auto& [key, value] : changes) {
    if (!known.contains(key))
      throw Refused(EINVAL, "no setting is called " + Quoted(key) + "; there are " + kSettingNames);
  }
  if (!policy.history_limit_bytes || *policy.history_limit_bytes >= live) return;
  throw Refused(EINVAL, "history-limit=" + FormatByteCount(*policy.history_limit_bytes) +
                            " refused: " + record.name + " holds " + FormatByteCount(live) +
                            " now, and history needs at least as much room");
}

std::vector<Pin> StoreImpl::PinsOf(const VolumeRecord& record) {
  std::set<TimelineId> own;
  for (const Binding& binding : record.bindings) own.insert(binding.timeline);
  own.erase(kControlTimeline);
  std::vector<Pin> pins;
  for (const auto& [label, mark] : catalog_->Marks(record.id))
    pins.push_back({Pin::Kind::kMark, label, mark.at, mark.made, 0});
  const auto add = [&](const VolumeRecord& other) {
    if (other.id == record.id) return;
    for (const Binding& binding : other.bindings) {
      if (binding.timeline == kControlTimeline) continue;
      const bool snapshot = other.fixed_at.has_value();
      for (const View::Link& link :
           catalog_->Chain(binding.timeline, other.fixed_at.value_or(kInstantMax))) {
        if (!own.contains(link.timeline)) continue;
        pins.push_back({snapshot ? Pin::Kind::kSnapshot : Pin::Kind::kClone, other.name, link.until,
                        other.created, 0});
        break;
      }
    }
  };
  for (const auto& [name, other] : catalog_->volumes()) add(other);
  for (const auto& [id, other] : catalog_->removed()) add(other);
  std::stable_sort(pins.begin(), pins.end(),
                   [](const Pin& a, const Pin& b) { return a.at < b.at; });
  return pins;
}

std::vector<Pin> StoreImpl::Pins(const std::string& name) {
  std::vector<Pin> pins;
  std::map<TimelineId, std::set<Instant>> instants;
  Survey survey = MakeSurvey(nullptr);
  {
    const std::lock_guard lock(catalog_mutex_);
    const VolumeRecord& record = catalog_->Need(name);
    pins = PinsOf(record);
    for (const Pin& pin : pins) {
      if (const auto timeline = CatalogStore::BoundAt(record, pin.at))
        instants[*timeline].insert(pin.at);
    }
  }
  std::map<Instant, uint64_t> bytes;
  for (const auto& [timeline, pinned] : instants) {
    const auto kept = survey.kept.find(timeline);
    if (kept != survey.kept.end())
      AddBytesHeldAlone(index_.get(), timeline, kept->second, pinned, &bytes);
  }
  std::map<Instant, int> holders;
  for (const Pin& pin : pins) ++holders[pin.at];
  for (Pin& pin : pins) {
    if (holders[pin.at] == 1) pin.bytes = bytes[pin.at];
  }
  return pins;
}

}  // namespace rw
