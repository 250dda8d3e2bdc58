#include "fs/store.h"

#include <errno.h>
#include <spdlog/spdlog.h>

#include <chrono>

#include "fs/store_impl.h"
#include "metadata/refused.h"

namespace rw {

namespace {

constexpr uint64_t kNeededToOpen = 256 << 10;

uint64_t SystemClock() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace

void StoreImpl::Recover() {
  MakeDataRoot(files_, root_);
  CheckIsOurs(root_);  // before anything is written there
  lock_.emplace(root_);
  name_seed_ = OpenSuperblock(files_, root_).name_seed;
  const ClockFile::State state = clock_file_.Read().value_or(ClockFile::State{});
  clock_.Observe(state.floor);
  index_floor_ = state.index_sequence;
  clock_file_.Write({clock_.last(), false, index_floor_});

  files_->MakeDirectory(root_ / "journal");
  segments_ = std::make_unique<SegmentReader>(files_, root_ / "journal");
  pool_ = std::make_unique<SegmentPool>(files_, root_ / "free", max_segment_bytes_);
  context_ = {files_,
              root_,
              nullptr,
              segments_.get(),
              &clock_,
              &moves_,
              pool_.get(),
              &appended_bytes_,
              &making_room_,
              max_segment_bytes_,
              [this] {
                if (collector_ != nullptr) collector_->Wake();
              }};
  files_->SyncDirectory(root_);
  moved_data_ = std::make_unique<MovedData>(&context_);
  // RocksDB writes a new list of its files when it is opened, and may end the process if it cannot.
  if (!HaveFree(kNeededToOpen)) {
    throw Refused(ENOSPC, "the disk of " + root_.string() +
                              " is full: to open it, 256 KiB have to be free; remove what is not "
                              "rewind's from that disk");
  }
  const bool clean = OpenIndex(state);
  files_->SyncDirectory(root_);  // an index that nobody finds again is lost
  RecoverTimelines(clean);
  if (index_damaged_ && !no_room_for_index_) {
    MakeIndexAgain("recovery met damage in it");
    RecoverTimelines(false);
  }
  try {
    RemoveLeftovers();
  } catch (const Refused& refused) {
    if (!index_damaged_) throw;
    RebuildIndex(refused.what());
    RecoverTimelines(false);
    RemoveLeftovers();
  }
  recovered_ = true;
  collector_ = std::make_unique<Collector>(
      collector_options_,
      [this] {
        NoteDurable();
        return CollectionIsDue();
      },
      [this] { CollectInBackground(); });
  last_run_ns_ = SteadyNanoseconds();
  if (BytesShort() == 0) ballast_.Make();
  collector_->Start();
}

void StoreImpl::RecoverTimelines(bool clean) {
  broken_.clear();
  if (!clean) {  // else each is opened when it is needed
    for (const auto& [id, record] : catalog_->timelines()) {
      if (record.dropped || record.absorbed_by) continue;
      try {
        CheckIsNotLost(record);
        const Timeline recovered(context_, record, catalog_->Chain(id, kInstantMax), false);
      } catch (const Refused& refused) {
        spdlog::error("timeline {} did not recover: {}", id, refused.what());
        broken_[id] = refused.what();
      }
    }
  }
  DateHeld();
}

void StoreImpl::RemoveLeftovers() {
  std::vector<TimelineId> dropped;
  for (const auto& [id, record] : catalog_->timelines()) {
    if (record.dropped) dropped.push_back(id);
  }
  // Views that were open when their volumes were removed kept these.
  CatalogStore::Change change;
  EndUnfinished(&change);
  for (const TimelineId id : CommitAndDrop(std::move(change))) dropped.push_back(id);
  for (const TimelineId id : dropped) DeleteTimelineData(id);
  // Segments that data were going to be moved to. One that something refers to has lost its header
  // to damage: the rest of it is not the disk's to take, nor ours.
  for (const auto& [id, record] : catalog_->timelines()) {
    const auto directory = segments_->TimelineDirectory(id);
    for (const uint32_t number : ListMovedSegments(files_, directory)) {
      if (IsUnbegun(context_, id, number)) files_->Remove(directory / SegmentFileName(number));
    }
  }
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
    files_->RemoveWithFiles(root_ / "journal" / name);
  }
}

StoreImpl::~StoreImpl() {
  if (collector_ != nullptr) collector_->Stop();  // a run asks it whether to go on
  try {
    uint64_t sequence = 0;
    if (recovered_) {
      SyncAll();
      index_->Flush();
      sequence = index_->LastSequence();
    }
    index_.reset();  // may flush, which syncs the journals: before those go
    if (recovered_ && broken_.empty() && unclean_.empty())
      clock_file_.Write({clock_.last(), true, sequence});
  } catch (const std::exception& error) {
    spdlog::error("the store did not close in order; the next start recovers it: {}", error.what());
    index_.reset();
  }
}

Instant StoreImpl::Now() {
  const std::lock_guard lock(clock_file_mutex_);
  const Instant now = clock_.Next();
  clock_file_.Write({now, false, index_floor_});
  return now;
}

void StoreImpl::RaiseIndexFloor() {
  const std::lock_guard lock(clock_file_mutex_);
  index_floor_ = index_->LastSequence();
  clock_file_.Write({clock_.last(), false, index_floor_});
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
  try {
    if (moved_data_ != nullptr) moved_data_->Sync();
  } catch (...) {
    failure = std::current_exception();
  }
  for (const auto& timeline : timelines) {
    try {
      timeline->Sync();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void StoreImpl::NoteDurable() {
  if (CatalogStore* catalog = catalog_for_sync_) catalog->NoteDurable();
  std::vector<std::shared_ptr<Timeline>> timelines;
  {
    const std::lock_guard lock(heads_mutex_);
    for (const auto& [id, head] : heads_) {
      if (head.timeline) timelines.push_back(head.timeline);
    }
  }
  for (const auto& timeline : timelines) timeline->NoteDurable();
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

void StoreImpl::WaitForOperations(TimelineId timeline, Instant until) {
  std::unique_lock lock(heads_mutex_);
  const auto found = heads_.find(timeline);
  if (found == heads_.end()) {
    const bool clean = !unclean_.contains(timeline);
    lock.unlock();
    if (!clean)
      OpenHead(catalog_->timelines().at(timeline), catalog_->Chain(timeline, kInstantMax));
    return;
  }
  const std::shared_ptr<ViewVolume> volume = found->second.volume.lock();
  const std::shared_ptr<Timeline> open = found->second.timeline;
  lock.unlock();
  if (open == nullptr) return;
  {
    const std::lock_guard operations(open->mutex());
    if (!open->pending(until)) return;
    if (volume == nullptr) open->ApplyPending();  // it is being closed
  }
  if (volume != nullptr) volume->WaitForOperations();
}

void StoreImpl::SyncPlace(const Place& place) {
  for (const View::Link& link : place.chain) {
    if (const auto open = OpenTimeline(link.timeline)) open->Sync();
  }
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

std::shared_ptr<ViewVolume> StoreImpl::MakeFixed(const Place& place) {
  const View::Link& link = place.chain.front();
  auto volume = std::make_unique<ViewVolume>(context_, View(index_.get(), place.chain),
                                             TotalsAt(link.timeline, link.until));
  const std::lock_guard lock(heads_mutex_);
  const auto entry = open_views_.insert(open_views_.end(), place.chain);
  return {volume.release(), [this, entry](ViewVolume* closed) {
            delete closed;
            const std::lock_guard closing(heads_mutex_);
            open_views_.erase(entry);
          }};
}

std::unique_ptr<Store> Store::Open(StoreOptions options) {
  if (!options.wall_clock) options.wall_clock = SystemClock;
  RetentionPolicy::Parse({}, options.defaults);  // refuses what volumes could not go by
  auto store = std::make_unique<StoreImpl>(std::move(options));
  store->Recover();
  return store;
}

}  // namespace rw
