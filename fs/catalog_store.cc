#include "fs/catalog_store.h"

#include <errno.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"

namespace rw {
namespace {

using nlohmann::json;

template <typename Fn>
void ForEach(Index* index, KeyType type, Fn fn) {
  const std::string prefix(1, static_cast<char>(type));
  const auto cursor = index->NewCursor(prefix);
  for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) fn(cursor->value());
}

}  // namespace

CatalogStore::CatalogStore(const StoreContext& context, bool clean) : context_(context) {
  TimelineRecord record;
  record.id = kControlTimeline;
  control_ = std::make_unique<Timeline>(
      context, record, std::vector<View::Link>{{kControlTimeline, kInstantMax, 1}}, clean);
  Load();
}

void CatalogStore::Load() {
  volumes_.clear();
  timelines_.clear();
  marks_.clear();
  ForEach(context_.index, KeyType::kVolume, [this](std::string_view value) {
    VolumeRecord record = VolumeRecord::Decode(value);
    const std::string name = record.name;
    volumes_[name] = std::move(record);
  });
  ForEach(context_.index, KeyType::kTimeline, [this](std::string_view value) {
    const TimelineRecord record = TimelineRecord::Decode(value);
    timelines_[record.id] = record;
  });
  ForEach(context_.index, KeyType::kMark, [this](std::string_view value) {
    const Mark mark = Mark::Decode(value);
    marks_[mark.volume][mark.label] = mark;
  });
  if (const auto counters = context_.index->Get(CountersKey())) {
    try {
      const json parsed = json::parse(*counters);
      next_volume_ = parsed.at("next_volume");
      next_timeline_ = parsed.at("next_timeline");
    } catch (const json::exception& error) {
      throw Refused(EIO, std::string("damaged counters in the catalog: ") + error.what());
    }
  }
}

const VolumeRecord* CatalogStore::Find(const std::string& name) const {
  const auto found = volumes_.find(name);
  return found == volumes_.end() ? nullptr : &found->second;
}

const VolumeRecord& CatalogStore::Need(const std::string& name) const {
  const VolumeRecord* record = Find(name);
  if (record == nullptr) throw Refused(ENOENT, "no volume is named " + name);
  return *record;
}

void CatalogStore::Commit(const Change& change) {
  VolumeId next_volume = next_volume_;
  TimelineId next_timeline = next_timeline_;
  Timeline::Operation operation;
  operation.type = RecordType::kCatalog;
  auto& entries = operation.body.mutations.catalog;
  for (const VolumeRecord& record : change.put_volumes) {
    entries.push_back({VolumeKey(record.name), record.Encode()});
    next_volume = std::max(next_volume, record.id + 1);
  }
  for (const std::string& name : change.end_volumes)
    entries.push_back({VolumeKey(name), std::nullopt});
  for (const TimelineRecord& record : change.put_timelines) {
    entries.push_back({TimelineKey(record.id), record.Encode()});
    next_timeline = std::max(next_timeline, record.id + 1);
  }
  for (const TimelineId id : change.end_timelines)
    entries.push_back({TimelineKey(id), std::nullopt});
  for (const Mark& mark : change.put_marks)
    entries.push_back({MarkKey(mark.volume, mark.label), mark.Encode()});
  for (const Mark& mark : change.end_marks)
    entries.push_back({MarkKey(mark.volume, mark.label), std::nullopt});
  entries.push_back(
      {CountersKey(), json{{"next_volume", next_volume}, {"next_timeline", next_timeline}}.dump()});
  {
    const std::lock_guard lock(control_->mutex());
    if (control_->ApplyPending()) {
      Load();
      throw Refused(EAGAIN,
                    "an earlier change of the catalog has only now been done; look, and try again");
    }
    operation.instant = control_->NextInstant();
    const JournalPosition before = control_->end();
    try {
      control_->Commit(&operation);
    } catch (...) {
      uncertain_ = control_->end() != before;
      throw;
    }
  }
  uncertain_ = true;
  control_->Sync();
  uncertain_ = false;

  next_volume_ = next_volume;
  next_timeline_ = next_timeline;
  for (const VolumeRecord& record : change.put_volumes) volumes_[record.name] = record;
  for (const std::string& name : change.end_volumes) volumes_.erase(name);
  for (const TimelineRecord& record : change.put_timelines) timelines_[record.id] = record;
  for (const TimelineId id : change.end_timelines) timelines_.erase(id);
  for (const Mark& mark : change.put_marks) marks_[mark.volume][mark.label] = mark;
  for (const Mark& mark : change.end_marks) {
    const auto of_volume = marks_.find(mark.volume);
    of_volume->second.erase(mark.label);
    if (of_volume->second.empty()) marks_.erase(of_volume);
  }
}

const std::map<std::string, Mark>& CatalogStore::Marks(VolumeId volume) const {
  static const std::map<std::string, Mark> kNone;
  const auto found = marks_.find(volume);
  return found == marks_.end() ? kNone : found->second;
}

std::vector<View::Link> CatalogStore::Chain(TimelineId timeline, Instant at) const {
  std::vector<View::Link> chain;
  for (std::optional<TimelineId> id = timeline; id;) {
    const auto found = timelines_.find(*id);
    if (found == timelines_.end())
      throw Refused(EIO, "the catalog has no timeline " + std::to_string(*id));
    const TimelineRecord& record = found->second;
    const bool before_fork = record.parent && at <= record.fork;
    if (!before_fork) chain.push_back({record.id, at, record.first_ino});
    at = std::min(at, record.fork);
    id = record.parent;
  }
  return chain;
}

std::vector<TimelineId> CatalogStore::Unneeded(const std::string& without,
                                               const std::multiset<TimelineId>& open) const {
  std::set<TimelineId> needed;
  const auto need = [&](std::optional<TimelineId> id) {
    while (id && needed.insert(*id).second) id = timelines_.at(*id).parent;
  };
  for (const TimelineId id : open) need(id);
  for (const auto& [name, volume] : volumes_) {
    if (name == without) continue;
    for (const Binding& binding : volume.bindings) need(binding.timeline);
  }
  std::vector<TimelineId> unneeded;
  for (const auto& [id, record] : timelines_) {
    if (!record.dropped && !needed.contains(id)) unneeded.push_back(id);
  }
  return unneeded;
}

}  // namespace rw
