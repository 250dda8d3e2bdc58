#include "fs/store.h"

#include <errno.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <set>

#include "fs/catalog_store.h"
#include "fs/store_files.h"
#include "fs/view_volume.h"
#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

constexpr uint32_t kDefaultRootMode = 0755;

uint64_t SystemClock() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

class StoreImpl : public Store {
 public:
  explicit StoreImpl(StoreOptions options)
      : root_(std::move(options.root)),
        files_(options.files != nullptr ? options.files : FileLayer::Posix()),
        clock_(options.wall_clock ? std::move(options.wall_clock) : SystemClock),
        clock_file_(root_ / "clock") {}

  void Recover();
  ~StoreImpl() override;

  Instant Now() override;
  void Create(const CreateRequest& request) override;
  void Remove(const std::string& name) override;
  Instant SetMark(const std::vector<std::string>& volumes, const std::string& label,
                  const std::string& note, std::optional<Instant> at) override;
  void RemoveMark(const std::string& volume, const std::string& label) override;
  std::vector<Mark> Marks(const std::string& volume) override;
  Instant InstantOf(const std::string& volume, std::string_view time) override;
  std::optional<VolumeRecord> Find(const std::string& name) override;
  std::vector<VolumeRecord> List() override;
  VolumeStatus Status(const std::string& name) override;
  std::shared_ptr<Volume> OpenVolume(const std::string& name) override;
  std::shared_ptr<Volume> OpenAt(const std::string& name, Instant at) override;
  void SyncAll() override;

 private:
  // Where a source volume is read, for a view or a new timeline.
  struct Place {
    TimelineId timeline = 0;
    Instant at;
    std::vector<View::Link> chain;
  };

  void RecoverTimelines(bool clean);
  void RemoveLeftovers();
  void DeleteTimelineData(TimelineId id);

  // All of these need catalog_mutex_.
  Place Resolve(const VolumeRecord& source, std::optional<Instant> at);
  TimelineRecord ForkTimeline(const Place& place);
  Totals TotalsAt(TimelineId timeline, Instant at);
  std::shared_ptr<ViewVolume> MakeFixed(const Place& place);
  const Mark& NeedMark(const VolumeRecord& record, const std::string& label);
  void MakeEmpty(const CreateRequest& request, VolumeRecord record);
  void MakeClone(const CreateRequest& request, const VolumeRecord& source, VolumeRecord record);
  void MakeSnapshot(const CreateRequest& request, const VolumeRecord& source, VolumeRecord record);
  void RollBack(const CreateRequest& request, const VolumeRecord& source, VolumeRecord record);
  bool HeadIsOpen(TimelineId timeline);
  std::shared_ptr<Timeline> OpenTimeline(TimelineId timeline);  // null if it is not
  void WaitForOperations(TimelineId timeline);
  // What a durable view or timeline starts from has to be as durable.
  void SyncPlace(const Place& place);
  void SyncBeforeFlush();

  std::shared_ptr<ViewVolume> OpenHead(const TimelineRecord& record, std::vector<View::Link> chain);
  void CloseHead(TimelineId id, Timeline& timeline, ViewVolume* volume);
  uint64_t DiskBytes(TimelineId timeline);
  void DiscardTimeline(TimelineId id);
  std::vector<TimelineId> Unneeded(const std::string& without);

  std::filesystem::path root_;
  FileLayer* files_;
  std::optional<RootLock> lock_;
  InstantClock clock_;
  std::mutex clock_file_mutex_;
  ClockFile clock_file_;
  std::unique_ptr<Index> index_;
  std::unique_ptr<SegmentReader> segments_;
  StoreContext context_;

  std::mutex catalog_mutex_;  // guards catalog_ and broken_; taken before heads_mutex_
  std::unique_ptr<CatalogStore> catalog_;
  std::map<TimelineId, std::string> broken_;  // timelines whose journals did not recover, and why

  std::mutex heads_mutex_;  // guards what follows
  std::multiset<TimelineId>
      open_views_;  // the timelines that open fixed views read; their data stay
  std::condition_variable head_changed_;
  struct Head {
    std::weak_ptr<ViewVolume> volume;    // who uses it
    std::shared_ptr<Timeline> timeline;  // for the store's own needs
  };
  // An entry lives from before its head is opened until it is synced and destroyed.
  std::map<TimelineId, Head> heads_;
  std::set<TimelineId> unclean_;  // closed with something amiss: to be recovered when opened again
  std::atomic<CatalogStore*> catalog_for_sync_{nullptr};
  bool recovered_ = false;
};

void StoreImpl::Recover() {
  std::error_code error;
  std::filesystem::create_directories(root_, error);
  if (error)
    throw Refused(error.value(),
                  "cannot make data root " + root_.string() + ": " + error.message());
  CheckIsOurs(root_);  // before anything is written there
  lock_.emplace(root_);
  const Superblock block = OpenSuperblock(root_);
  const auto clock_state = clock_file_.Read();
  if (clock_state) clock_.Observe(clock_state->floor);
  clock_file_.Write({clock_.last(), false});

  files_->MakeDirectory(root_ / "journal");
  segments_ = std::make_unique<SegmentReader>(files_, root_ / "journal");
  index_ = Index::Open({root_ / "index", block.name_seed, [this] { SyncBeforeFlush(); }});
  // An index that was lost is made again from the journals.
  const bool clean = clock_state && clock_state->clean && index_->FindCovered(kControlTimeline);
  context_ = {files_, root_, index_.get(), segments_.get(), &clock_};
  files_->SyncDirectory(root_);
  catalog_ = std::make_unique<CatalogStore>(context_, clean);
  catalog_for_sync_ = catalog_.get();
  RecoverTimelines(clean);
  RemoveLeftovers();
  recovered_ = true;
}

void StoreImpl::RecoverTimelines(bool clean) {
  if (clean) return;  // each is opened when it is needed
  for (const auto& [id, record] : catalog_->timelines()) {
    if (record.dropped) continue;
    try {
      const Timeline recovered(context_, record, catalog_->Chain(id, kInstantMax), false);
    } catch (const Refused& refused) {
      spdlog::error("timeline {} did not recover: {}", id, refused.what());
      broken_[id] = refused.what();
    }
  }
}

void StoreImpl::RemoveLeftovers() {
  std::vector<TimelineId> dropped;
  for (const auto& [id, record] : catalog_->timelines()) {
    if (record.dropped) dropped.push_back(id);
  }
  // Views that were open when their volumes were removed kept these.
  for (const TimelineId id : catalog_->Unneeded("", {})) dropped.push_back(id);
  for (const TimelineId id : dropped) DeleteTimelineData(id);
  // Timelines that were being made when the process ended.
  for (const std::string& name : context_.files->List(root_ / "journal")) {
    char* end = nullptr;
    const unsigned long id = std::strtoul(name.c_str(), &end, 10);
    if (*end != '\0' || id == kControlTimeline ||
        catalog_->timelines().contains(static_cast<TimelineId>(id)))
      continue;
    spdlog::info("removing what is left of unfinished timeline {}", id);
    index_->DropTimeline(static_cast<TimelineId>(id));
    index_->Flush();  // the number will be used again
    std::filesystem::remove_all(root_ / "journal" / name);
  }
}

StoreImpl::~StoreImpl() {
  try {
    if (recovered_) {
      SyncAll();
      index_->Flush();
    }
    index_.reset();  // may flush, which syncs the journals: before those go
    if (recovered_ && broken_.empty() && unclean_.empty()) clock_file_.Write({clock_.last(), true});
  } catch (const std::exception& error) {
    spdlog::error("the store did not close in order; the next start recovers it: {}", error.what());
    index_.reset();
  }
}

Instant StoreImpl::Now() {
  const std::lock_guard lock(clock_file_mutex_);
  const Instant now = clock_.Next();
  clock_file_.Write({now, false});
  return now;
}

void StoreImpl::SyncAll() {
  if (CatalogStore* catalog = catalog_for_sync_) catalog->Sync();
  std::vector<std::shared_ptr<Timeline>> timelines;
  {
    const std::lock_guard lock(heads_mutex_);
    for (const auto& [id, head] : heads_) {
      if (head.timeline) timelines.push_back(head.timeline);
    }
  }
  std::exception_ptr failure;  // one volume's trouble is not the others'
  for (const auto& timeline : timelines) {
    try {
      timeline->Sync();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void StoreImpl::SyncBeforeFlush() {
  // What could not be synced is refused by its journal from now on. Should the machine die too, the
  // index knows of records that the journal lost; their data then fail their checksums.
  try {
    SyncAll();
  } catch (const std::exception& error) {
    spdlog::error("a journal could not be synced: {}", error.what());
  }
}

bool StoreImpl::HeadIsOpen(TimelineId timeline) {
  const std::lock_guard lock(heads_mutex_);
  return heads_.contains(timeline);
}

std::shared_ptr<Timeline> StoreImpl::OpenTimeline(TimelineId timeline) {
  const std::lock_guard lock(heads_mutex_);
  const auto found = heads_.find(timeline);
  return found == heads_.end() ? nullptr : found->second.timeline;
}

void StoreImpl::WaitForOperations(TimelineId timeline) {
  if (const auto open = OpenTimeline(timeline)) const std::lock_guard lock(open->mutex());
}

void StoreImpl::SyncPlace(const Place& place) {
  for (const View::Link& link : place.chain) {
    if (const auto open = OpenTimeline(link.timeline)) open->Sync();
  }
}

StoreImpl::Place StoreImpl::Resolve(const VolumeRecord& source, std::optional<Instant> at) {
  const Instant now = clock_.Next();
  Place place;
  place.at = at.value_or(source.fixed_at.value_or(now));
  if (place.at > now) {
    throw Refused(ERANGE, "time " + FormatInstant(place.at) + " is in the future; now is " +
                              FormatInstant(now));
  }
  place.timeline = source.timeline();
  Instant first = source.created;
  if (source.fixed_at) {
    // A snapshot volume shows one instant; what lies before it is reached through it as well.
    place.at = std::min(place.at, *source.fixed_at);
    first = Instant{};
    for (std::optional<TimelineId> id = place.timeline; id;) {
      const TimelineRecord& record = catalog_->timelines().at(*id);
      first = record.created;
      id = record.parent;
    }
  } else {
    for (const Binding& binding : source.bindings) {
      if (binding.since <= place.at) place.timeline = binding.timeline;
    }
  }
  if (place.at < first) {
    throw Refused(ERANGE, "time " + FormatInstant(place.at) +
                              " is before the first instant kept of " + source.name +
                              ", which is " + FormatInstant(first));
  }
  place.chain = catalog_->Chain(place.timeline, place.at);
  for (const View::Link& link : place.chain) {
    if (const auto broken = broken_.find(link.timeline); broken != broken_.end())
      throw Refused(EIO, broken->second);
    WaitForOperations(link.timeline);
  }
  return place;
}

Totals StoreImpl::TotalsAt(TimelineId timeline, Instant at) {
  const TimelineRecord& record = catalog_->timelines().at(timeline);
  const auto covered = index_->FindCovered(timeline);
  if (!covered) return {record.base_bytes, record.base_inodes};
  if (covered->instant <= at) return covered->totals;
  const auto sample = index_->FindSample(timeline, at);
  if (!sample) return {record.base_bytes, record.base_inodes};
  Totals totals = sample->totals;
  JournalScanner scanner(context_.files, segments_->TimelineDirectory(timeline), timeline,
                         sample->position, Instant{});
  while (const auto scanned = scanner.Next()) {
    if (scanned->header.instant > at) break;
    totals = RecordBody::Decode(scanned->body, scanned->header.instant, timeline).totals;
  }
  return totals;
}

std::shared_ptr<ViewVolume> StoreImpl::MakeFixed(const Place& place) {
  const View::Link& link = place.chain.front();
  const TimelineId id = link.timeline;
  auto volume = std::make_unique<ViewVolume>(context_, View(index_.get(), place.chain),
                                             TotalsAt(id, link.until));
  const std::lock_guard lock(heads_mutex_);
  open_views_.insert(id);
  return {volume.release(), [this, id](ViewVolume* closed) {
            delete closed;
            const std::lock_guard closing(heads_mutex_);
            open_views_.erase(open_views_.find(id));
          }};
}

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

void StoreImpl::Create(const CreateRequest& request) {
  const std::lock_guard lock(catalog_mutex_);
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
  const TimelineId next_timeline = catalog_->NextTimelineId();
  VolumeRecord source;
  if (request.source_kind != SourceKind::kNone) source = catalog_->Need(request.source);
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
  index_->Flush();          // the number will be used again
  std::error_code ignored;  // the next start tries again
  std::filesystem::remove_all(segments_->TimelineDirectory(id), ignored);
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
  TimelineRecord timeline = ForkTimeline(place);
  timeline.created = clock_.Next();
  VolumeRecord rolled_back = source;
  rolled_back.bindings.push_back({timeline.created, timeline.id});
  rolled_back.rolled_back_to = place.at;
  CatalogStore::Change change;
  change.put_volumes = {record, rolled_back};
  change.put_timelines.push_back(timeline);
  catalog_->Commit(change);
}

void StoreImpl::Remove(const std::string& name) {
  std::unique_lock lock(catalog_mutex_);
  const VolumeRecord record = catalog_->Need(name);
  if (record.writable() && HeadIsOpen(record.timeline()))
    throw Refused(EBUSY, "cannot remove " + name + ": it is in use");
  CatalogStore::Change change;
  change.end_volumes.push_back(name);
  for (const auto& [label, mark] : catalog_->Marks(record.id)) change.end_marks.push_back(mark);
  const std::vector<TimelineId> unneeded = Unneeded(name);
  for (const TimelineId id : unneeded) {
    TimelineRecord dropped = catalog_->timelines().at(id);
    dropped.dropped = true;
    change.put_timelines.push_back(dropped);
  }
  catalog_->Commit(change);
  lock.unlock();  // it may take long, and nobody can reach them any more
  for (const TimelineId id : unneeded) DeleteTimelineData(id);
}

std::vector<TimelineId> StoreImpl::Unneeded(const std::string& without) {
  const std::lock_guard lock(heads_mutex_);
  return catalog_->Unneeded(without, open_views_);
}

void StoreImpl::DeleteTimelineData(TimelineId id) {
  segments_->Forget(id);
  index_->DropTimeline(id);
  index_->Flush();
  // The files must not outlive the index's knowledge that they are gone, nor the other way round:
  // the catalog entry stays until both are.
  std::filesystem::remove_all(segments_->TimelineDirectory(id));
  context_.files->SyncDirectory(root_ / "journal");
  const std::lock_guard lock(catalog_mutex_);
  CatalogStore::Change change;
  change.end_timelines.push_back(id);
  catalog_->Commit(change);
}

Instant StoreImpl::SetMark(const std::vector<std::string>& volumes, const std::string& label,
                           const std::string& note, std::optional<Instant> at) {
  CheckLabel(label);
  if (volumes.empty()) throw Refused(EINVAL, "a mark needs a volume");
  const std::lock_guard lock(catalog_mutex_);
  const Instant made = clock_.Next();
  const Instant instant = at.value_or(made);
  CatalogStore::Change change;
  std::vector<Place> places;
  for (const std::string& name : std::set<std::string>(volumes.begin(), volumes.end())) {
    const VolumeRecord& record = catalog_->Need(name);
    if (!record.writable()) {
      throw Refused(EROFS, "cannot mark " + name +
                               ": it is a snapshot volume, which shows one "
                               "instant; mark the volume that it was made of");
    }
    const auto& marks = catalog_->Marks(record.id);
    if (const auto found = marks.find(label); found != marks.end()) {
      throw Refused(EEXIST, "volume " + name + " has a mark " + Quoted(label) + " at " +
                                FormatInstant(found->second.at) + "; remove it first");
    }
    places.push_back(Resolve(record, instant));
    change.put_marks.push_back({record.id, label, instant, made, note});
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
  const VolumeRecord& record = catalog_->Need(volume);
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
  for (const auto& [name, record] : catalog_->volumes()) records.push_back(record);
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
  status.history_first = status.record.created;
  Totals totals;
  if (status.record.fixed_at) {
    const auto chain = catalog_->Chain(status.record.timeline(), *status.record.fixed_at);
    totals = TotalsAt(chain.front().timeline, chain.front().until);
    status.history_first = status.history_last = *status.record.fixed_at;
  } else {
    const TimelineId timeline = status.record.timeline();
    totals = TotalsAt(timeline, kInstantMax);
    const auto covered = index_->FindCovered(timeline);
    status.history_last = covered ? covered->instant : catalog_->timelines().at(timeline).created;
  }
  lock.unlock();
  status.live_bytes = totals.bytes;
  status.live_inodes = totals.inodes;
  std::set<TimelineId> seen;
  for (const Binding& binding : status.record.bindings) {
    if (seen.insert(binding.timeline).second) status.history_bytes += DiskBytes(binding.timeline);
  }
  return status;
}

std::shared_ptr<ViewVolume> StoreImpl::OpenHead(const TimelineRecord& record,
                                                std::vector<View::Link> chain) {
  std::unique_lock lock(heads_mutex_);
  for (;;) {
    const auto found = heads_.find(record.id);
    if (found == heads_.end()) break;
    if (auto head = found->second.volume.lock()) return head;
    head_changed_.wait(lock);  // it is being opened, or the last one is being destroyed
  }
  const TimelineId id = record.id;
  const bool clean = !unclean_.contains(id);
  heads_[id] = {};
  lock.unlock();  // recovery commits to the index, whose flush needs the mutex
  std::shared_ptr<Timeline> timeline;
  std::shared_ptr<ViewVolume> head;
  try {
    timeline = std::make_shared<Timeline>(context_, record, std::move(chain), clean);
    head = {new ViewVolume(context_, timeline),
            [this, id, timeline](ViewVolume* volume) { CloseHead(id, *timeline, volume); }};
  } catch (...) {
    lock.lock();
    heads_.erase(id);
    head_changed_.notify_all();
    throw;
  }
  lock.lock();
  unclean_.erase(id);
  heads_[id] = {head, std::move(timeline)};
  head_changed_.notify_all();
  return head;
}

void StoreImpl::CloseHead(TimelineId id, Timeline& timeline, ViewVolume* volume) {
  bool clean = !timeline.pending();
  try {
    volume->Sync();  // so that whatever the index flushes later is in the journal
  } catch (const std::exception& error) {
    spdlog::error("timeline {}: {}", id, error.what());
    clean = false;
  }
  delete volume;
  const std::lock_guard lock(heads_mutex_);
  if (!clean) unclean_.insert(id);
  heads_.erase(id);
  head_changed_.notify_all();
}

std::shared_ptr<Volume> StoreImpl::OpenVolume(const std::string& name) {
  std::unique_lock lock(catalog_mutex_);
  const VolumeRecord record = catalog_->Need(name);
  if (record.fixed_at) return MakeFixed(Resolve(record, std::nullopt));
  for (const View::Link& link : catalog_->Chain(record.timeline(), kInstantMax)) {
    if (const auto broken = broken_.find(link.timeline); broken != broken_.end())
      throw Refused(EIO, broken->second);
  }
  auto head = OpenHead(catalog_->timelines().at(record.timeline()),
                       catalog_->Chain(record.timeline(), kInstantMax));
  head->LimitBytes(record.size_bytes.value_or(UINT64_MAX));
  return head;
}

std::shared_ptr<Volume> StoreImpl::OpenAt(const std::string& name, Instant at) {
  const std::lock_guard lock(catalog_mutex_);
  return MakeFixed(Resolve(catalog_->Need(name), at));
}

}  // namespace

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

std::unique_ptr<Store> Store::Open(StoreOptions options) {
  auto store = std::make_unique<StoreImpl>(std::move(options));
  store->Recover();
  return store;
}

}  // namespace rw
