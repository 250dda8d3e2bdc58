#include "fs/catalog_store.h"

#include <errno.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"

namespace rw {
namespace {

using nlohmann::json;

constexpr uint64_t kControlSegmentBytes = 1 << 20;

template <typename Fn>
void ForEach(Index* index, KeyType type, Fn fn) {
  const std::string prefix(1, static_cast<char>(type));
  const auto cursor = index->NewCursor(prefix);
  for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) fn(cursor->value());
}

std::vector<CatalogMutation> Entries(const CatalogStore::Change& change, VolumeId next_volume,
                                     TimelineId next_timeline) {
  std::vector<CatalogMutation> entries;
  for (const VolumeRecord& record : change.put_volumes)
    entries.push_back({VolumeKey(record.name), record.Encode()});
  for (const std::string& name : change.end_volumes)
    entries.push_back({VolumeKey(name), std::nullopt});
  for (const VolumeRecord& record : change.put_removed)
    entries.push_back({RemovedKey(record.id), record.Encode()});
  for (const VolumeId id : change.end_removed) entries.push_back({RemovedKey(id), std::nullopt});
  for (const TimelineRecord& record : change.put_timelines)
    entries.push_back({TimelineKey(record.id), record.Encode()});
  for (const TimelineId id : change.end_timelines)
    entries.push_back({TimelineKey(id), std::nullopt});
  for (const Mark& mark : change.put_marks)
    entries.push_back({MarkKey(mark.volume, mark.label), mark.Encode()});
  for (const Mark& mark : change.end_marks)
    entries.push_back({MarkKey(mark.volume, mark.label), std::nullopt});
  entries.push_back(
      {CountersKey(), json{{"next_volume", next_volume}, {"next_timeline", next_timeline}}.dump()});
  return entries;
}

}  // namespace

CatalogStore::CatalogStore(const StoreContext& context, bool clean)
    : context_(context), copy_(context.files, context.root) {
  TimelineRecord record;
  record.id = kControlTimeline;
  StoreContext small = context;
  small.pool = nullptr;
  small.max_segment_bytes = std::min<uint64_t>(small.max_segment_bytes, kControlSegmentBytes);
  control_ = std::make_unique<Timeline>(
      small, record, std::vector<View::Link>{{kControlTimeline, kInstantMax, 1}}, clean);
  Load();
}

void CatalogStore::Load() {
  volumes_.clear();
  timelines_.clear();
  marks_.clear();
  removed_.clear();
  kept_.reset();
  ForEach(context_.index, KeyType::kVolume, [this](std::string_view value) {
    VolumeRecord record = VolumeRecord::Decode(value);
    const std::string name = record.name;
    volumes_[name] = std::move(record);
  });
  ForEach(context_.index, KeyType::kRemoved, [this](std::string_view value) {
    const VolumeRecord record = VolumeRecord::Decode(value);
    removed_[record.id] = record;
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

const VolumeRecord* CatalogStore::FindSource(const std::string& name) const {
  if (const VolumeRecord* record = Find(name)) return record;
  const VolumeRecord* last = nullptr;
  for (const auto& [id, record] : removed_) {
    if (record.name == name && (last == nullptr || *record.removed > *last->removed))
      last = &record;
  }
  return last;
}

const VolumeRecord& CatalogStore::NeedSource(const std::string& name) const {
  const VolumeRecord* record = FindSource(name);
  if (record == nullptr) throw Refused(ENOENT, "no volume is named " + name);
  return *record;
}

void CatalogStore::Commit(const Change& change) {
  VolumeId next_volume = next_volume_;
  TimelineId next_timeline = next_timeline_;
  for (const VolumeRecord& record : change.put_volumes)
    next_volume = std::max(next_volume, record.id + 1);
  for (const TimelineRecord& record : change.put_timelines)
    next_timeline = std::max(next_timeline, record.id + 1);
  Timeline::Operation operation;
  operation.type = RecordType::kCatalog;
  operation.body.mutations.catalog = Entries(change, next_volume, next_timeline);
  {
    const std::lock_guard lock(control_->mutex());
    if (control_->ApplyPending()) {
      Load();
      control_->Sync();
      BeginCopy();
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

  kept_.reset();
  next_volume_ = next_volume;
  next_timeline_ = next_timeline;
  for (const VolumeRecord& record : change.put_volumes) volumes_[record.name] = record;
  for (const std::string& name : change.end_volumes) volumes_.erase(name);
  for (const VolumeRecord& record : change.put_removed) removed_[record.id] = record;
  for (const VolumeId id : change.end_removed) removed_.erase(id);
  for (const TimelineRecord& record : change.put_timelines) timelines_[record.id] = record;
  for (const TimelineId id : change.end_timelines) timelines_.erase(id);
  for (const Mark& mark : change.put_marks) marks_[mark.volume][mark.label] = mark;
  for (const Mark& mark : change.end_marks) {
    const auto of_volume = marks_.find(mark.volume);
    of_volume->second.erase(mark.label);
    if (of_volume->second.empty()) marks_.erase(of_volume);
  }
  if (!copy_.Append(operation.instant, operation.body.mutations)) BeginCopy();
}

void CatalogStore::BeginCopy() {
  if (last_instant() == Instant{}) return;  // nothing has happened yet
  Mutations all;
  all.catalog = Entries(All(), next_volume_, next_timeline_);
  copy_.Begin(last_instant(), all);
}

void CatalogStore::ForgetTimelines(const std::vector<TimelineId>& gone, Change* change) const {
  const auto is_gone = [&](const Binding& binding) {
    return binding.timeline == kControlTimeline ||
           std::find(gone.begin(), gone.end(), binding.timeline) != gone.end();
  };
  const auto forget = [&](const VolumeRecord& record, std::vector<VolumeRecord>* out) {
    VolumeRecord forgetful = record;
    std::vector<Binding>& bindings = forgetful.bindings;
    for (Binding& binding : bindings) {
      if (is_gone(binding)) binding.timeline = kControlTimeline;
    }
    const auto end =
        std::unique(bindings.begin(), bindings.end(), [](const auto& a, const auto& b) {
          return a.timeline == kControlTimeline && b.timeline == kControlTimeline;
        });
    bindings.erase(end, bindings.end());
    if (bindings != record.bindings) out->push_back(std::move(forgetful));
  };
  for (const auto& [name, record] : volumes_) forget(record, &change->put_volumes);
  for (const auto& [id, record] : removed_) forget(record, &change->put_removed);
}

CatalogStore::Change CatalogStore::All() const {
  Change all;
  for (const auto& [name, record] : volumes_) all.put_volumes.push_back(record);
  for (const auto& [id, record] : removed_) all.put_removed.push_back(record);
  for (const auto& [id, record] : timelines_) all.put_timelines.push_back(record);
  for (const auto& [id, marks] : marks_) {
    for (const auto& [label, mark] : marks) all.put_marks.push_back(mark);
  }
  return all;
}

uint32_t CatalogStore::Rewrite() {
  Commit(All());
  BeginCopy();
  return control_->end().segment;
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

std::optional<TimelineId> CatalogStore::BoundAt(const VolumeRecord& record, Instant at) {
  TimelineId timeline = record.bindings.front().timeline;
  for (const Binding& binding : record.bindings) {
    if (binding.since <= at) timeline = binding.timeline;
  }
  if (timeline == kControlTimeline) return std::nullopt;
  return timeline;
}

const std::map<TimelineId, KeptInstants>& CatalogStore::Kept() const {
  if (!kept_) kept_ = KeptWith({});
  return *kept_;
}

std::map<TimelineId, KeptInstants> CatalogStore::KeptWith(
    const std::vector<std::vector<View::Link>>& open_views, const VolumeRecord* replaced,
    std::set<TimelineId>* looked_at) const {
  std::map<TimelineId, KeptInstants> kept;
  const auto look_at = [&](TimelineId timeline) {
    if (looked_at != nullptr) looked_at->insert(timeline);
  };
  const auto add = [&](const std::vector<View::Link>& chain) {
    look_at(chain.front().timeline);
    for (const View::Link& link : chain) kept[link.timeline].AddPoint(link.until);
  };
  const auto add_at = [&](const VolumeRecord& record, Instant at) {
    const auto timeline = BoundAt(record, at);
    if (timeline && timelines_.contains(*timeline)) add(Chain(*timeline, at));
  };
  const auto add_volume = [&](const VolumeRecord& record) {
    if (record.fixed_at) {
      add(Chain(record.timeline(), *record.fixed_at));
      return;
    }
    for (size_t i = 0; i < record.bindings.size(); ++i) {
      const Binding& binding = record.bindings[i];
      const bool last = i + 1 == record.bindings.size();
      const Instant end = last ? kInstantMax : Before(record.bindings[i + 1].since);
      const Instant from = std::max(record.horizon, binding.since);
      if (binding.timeline == kControlTimeline || end < from) continue;
      kept[binding.timeline].AddRange(from, end);
      look_at(binding.timeline);
      // Beyond the timeline's own beginning, a view of it needs its parents as they were at the
      // fork.
      for (const View::Link& link : Chain(binding.timeline, end)) {
        if (link.timeline != binding.timeline) kept[link.timeline].AddPoint(link.until);
      }
    }
    for (const Instant point : record.points) add_at(record, point);
    for (const auto& [label, mark] : Marks(record.id)) add_at(record, mark.at);
  };
  const auto current = [&](const VolumeRecord& record) -> const VolumeRecord& {
    return replaced != nullptr && replaced->id == record.id ? *replaced : record;
  };
  for (const auto& [name, record] : volumes_) add_volume(current(record));
  for (const auto& [id, record] : removed_) add_volume(record);
  for (const auto& chain : open_views) add(chain);
  for (auto& [id, instants] : kept) instants.Finish();
  return kept;
}

}  // namespace rw
