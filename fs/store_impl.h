// The store's implementation, in five files: store.cc (its life, heads and views), store_create.cc
// (what makes and ends volumes; store_rollback.cc for several at once), store_history.cc (instants,
// marks, what is known of a volume) and store_collect.cc (what is no longer kept goes).
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fs/catalog_store.h"
#include "fs/check_context.h"
#include "fs/collector.h"
#include "fs/moved_data.h"
#include "fs/store.h"
#include "fs/store_files.h"
#include "fs/view_volume.h"
#include "fs/write_rates.h"
#include "metadata/sweep.h"

namespace rw {

class IndexSalvage;

class StoreImpl : public Store {
 public:
  explicit StoreImpl(StoreOptions options)
      : root_(std::move(options.root)),
        files_(options.files != nullptr ? options.files : FileLayer::Posix()),
        wall_clock_(options.wall_clock),
        clock_(std::move(options.wall_clock)),
        clock_file_(files_, root_ / "clock"),
        index_tuning_(std::move(options.index)),
        max_segment_bytes_(options.max_segment_bytes),
        defaults_(std::move(options.defaults)),
        collector_options_(options.collector),
        ballast_(root_) {}

  void Recover();
  ~StoreImpl() override;

  Instant Now() override;
  void Create(const CreateRequest& request) override;
  std::string Begin(const CreateRequest& request) override;
  void Finish(const std::string& unfinished, const std::string& name) override;
  void Discard(const std::string& unfinished) override;
  StoreHealth Health() override;
  StoreSizes Sizes() override;
  void Remove(const std::string& name) override;
  std::vector<RemovedVolume> ListRemoved() override;
  void Purge(const std::string& name) override;
  void Set(const std::string& name, const std::map<std::string, std::string>& changes) override;
  CollectReport DryRun(const std::string& name, const RetentionSettings& changes) override;
  std::vector<Pin> Pins(const std::string& name) override;
  CollectReport Collect() override;
  void StopCollecting() override;
  bool MakeRoom() override;
  EventsRead ReadEvents(const std::string& name, const EventQuery& query,
                        const EventCallback& callback) override;
  ForgetReport ForgetPath(const std::string& name, const std::string& path, bool copies,
                          const ProgressSink& progress) override;
  RestoreReport Restore(const RestoreRequest& request, const RestoreHooks& hooks) override;
  std::vector<TakenBack> ListTakenBack(const std::string& name) override;
  Instant UndoRollback(const std::string& name, const TakenBack& action, bool dry_run) override;
  CheckReport Check(const CheckOptions& options) override;
  void NeedRoomForIndex() override;
  Instant SetMark(const std::vector<std::string>& volumes, const std::string& label,
                  const std::string& note, std::optional<Instant> at) override;
  void SetConsistentMark(const std::map<std::string, std::string>& volumes,
                         const std::string& label, const std::string& note, Instant at) override;
  Instant RollBackAll(const std::vector<std::string>& volumes, Instant at, const std::string& label,
                      const std::string& note) override;
  void CheckRollBack(const std::vector<std::string>& volumes, Instant at) override;
  void RunSchedules() override;
  std::vector<ScheduleStatus> Schedules(const std::optional<std::string>& volume) override;
  void RemoveMark(const std::string& volume, const std::string& label) override;
  std::vector<Mark> Marks(const std::string& volume) override;
  Instant InstantOf(const std::string& volume, std::string_view time) override;
  std::optional<VolumeRecord> Find(const std::string& name) override;
  std::vector<VolumeRecord> List() override;
  VolumeStatus Status(const std::string& name) override;
  std::shared_ptr<Volume> OpenVolume(const std::string& name) override;
  std::shared_ptr<Volume> OpenAt(const std::string& name, Instant at) override;
  std::shared_ptr<const Past> OpenPast(const std::string& name) override;
  void SyncAll() override;

 private:
  // Where a source volume is read, for a view or a new timeline.
  struct Place {
    TimelineId timeline = 0;
    Instant at;
    std::vector<View::Link> chain;
  };

  // Opens index and catalog; if the index is damaged or lost, makes it again. False if the index is
  // not as it was left.
  bool OpenIndex(const ClockFile::State& state);
  void RecoverTimelines(bool clean);
  // --- store_rebuild.cc ---
  std::unique_ptr<Index> OpenIndexIn(const std::filesystem::path& directory);
  void OpenCatalog(bool clean);
  void RecoverCatalog(bool clean);
  void TakeCatalog();
  void ReadCatalog(bool clean);
  void BeginCatalogAnew();
  bool CopyIsNewEnough(Instant copied);
  std::filesystem::path SetCatalogAside();
  void CloseIndex();
  void NeedWholeIndex();
  void MakeIndexAgain(const std::string& why);
  void RebuildIndex(const std::string& why);
  void FillIndex(IndexSalvage* salvage);
  void SalvageTimeline(IndexSalvage* salvage, TimelineId id);
  void DeriveHead(TimelineId id, const LostRanges& lost);
  bool JournalIsWhole(TimelineId id);
  // --- store_events.cc ---
  struct EventSource : EventsBegin {
    struct Span {
      TimelineId timeline = 0;
      Instant from, until;
      JournalPosition end;  // of what is committed
    };
    std::vector<Span> spans;
  };
  EventSource FindEvents(const std::string& name, const EventQuery& query);
  // --- store_check.cc ---
  std::vector<CheckedTimeline> ChooseTimelines(const CheckOptions& options, CheckReport* report);
  void CheckTotals(const std::vector<CheckedTimeline>& timelines, CheckContext* context);
  bool RepairJournal(TimelineId id, const CheckOptions& options, CheckReport* report);
  bool RepairBroken(const CheckOptions& options, CheckReport* report);
  void CheckIsNotLost(const TimelineRecord& record);
  void SawDamage(const std::string& what);
  // An index that has not come so far has lost something.
  void RaiseIndexFloor();
  void RemoveLeftovers();
  void DeleteTimelineData(TimelineId id);

  // --- store_collect.cc ---
  // What a run goes by: taken once, after the horizons have moved.
  struct Candidate {  // a segment that lies before the range of its timeline
    TimelineId timeline = 0;
    uint32_t segment = 0;
    uint64_t bytes = 0;
    Instant end;  // everything in it is older
    uint64_t live_bytes = 0;
    uint64_t dead_bytes() const { return bytes - std::min(bytes, live_bytes); }
  };
  struct Survey {
    std::map<TimelineId, KeptInstants> kept;
    std::map<TimelineId, Sweep::Timeline> timelines;
    std::vector<TimelineId> absorbed;
    std::vector<Candidate> candidates;
    LiveMap live;
    std::map<TimelineId, std::vector<SegmentInfo>> in_range;
    uint64_t bytes_in_range = 0;
  };
  CollectReport CollectOnce(bool thorough);
  CollectReport CollectAndCount(bool thorough);  // store_figures.cc
  void Advance();
  void MoveHorizon(const VolumeRecord& record, Instant now, CatalogStore::Change* change);
  Survey MakeSurvey(const VolumeRecord* replaced);
  void FindCandidates(Survey* survey, bool thorough);
  void FindAbsorbed(Survey* survey);
  std::vector<Candidate> ChooseVictims(std::vector<Candidate> rest, uint64_t kept_bytes,
                                       bool thorough) const;
  std::set<MoveWatch::SegmentKey> FindEmptying();
  std::set<MoveWatch::SegmentKey> FindHeld(const Survey& survey);
  void DateHeld();
  bool Prefetch(const LiveMap& live, const std::vector<Candidate>& victims);
  uint64_t MoveOut(const std::vector<Candidate>& victims, bool resumed,
                   std::vector<Candidate>* emptied);
  void EndHolds(const std::set<MoveWatch::SegmentKey>& held);
  uint64_t Free(const Survey& survey, const std::vector<Candidate>& freed);
  bool KeepTotals(const Survey& survey, const std::vector<Candidate>& freed);
  void DropSamples(const Survey& survey, const std::set<MoveWatch::SegmentKey>& gone);
  void RelievePressure();
  void LimitHistories(const Survey& survey);
  void TrimCatalog();
  void LimitPool();
  // --- store_forget.cc ---
  class Forgetting;
  std::map<TimelineId, uint32_t> SealAllSegments();
  void ZeroUnsealedEnds();
  // --- store_restore.cc ---
  class Restoring;
  std::set<TimelineId> LastingTimelines(TimelineId head);
  // --- store_schedule.cc ---
  void RunSchedule(const VolumeRecord& record, CatalogStore::Change* change,
                   std::vector<Place>* places);
  uint64_t WallNanoseconds() const { return wall_clock_(); }
  // --- store_chains.cc ---
  void ShortenChains();
  std::optional<std::pair<TimelineId, TimelineId>> FindToAbsorb();
  bool CopyKeys(TimelineId from, TimelineId to, Instant until);
  void Absorb(TimelineId timeline, TimelineId into);
  void EndEmptyTimelines();
  TimelineId AbsorberOf(TimelineId timeline);
  static uint64_t SteadyNanoseconds();
  bool HaveFree(uint64_t bytes);
  uint64_t BytesShort() const;  // of the reserve
  bool CollectionIsDue();
  void NoteExpiring(const Survey& survey);
  uint64_t BytesExpired(uint64_t steady_ns) const;
  bool GoOn();
  void CollectInBackground();
  std::vector<std::shared_ptr<ViewVolume>> OpenVolumes();
  std::vector<std::vector<View::Link>> OpenViews();
  // With catalog_mutex_: commits the change, and that what nobody needs then is dropped. The data
  // of the timelines that are returned are the caller's to delete.
  std::vector<TimelineId> CommitAndDrop(CatalogStore::Change change);
  RetentionPolicy PolicyOf(const VolumeRecord& record) const {
    return RetentionPolicy::InForce(record.retention, defaults_);
  }

  // --- store_unfinished.cc ---
  static bool IsUnfinished(const std::string& name);
  void NeedUnused(const std::string& name);  // with catalog_mutex_; throws Refused(EEXIST)
  void EndUnfinished(CatalogStore::Change* change);

  // All of these need catalog_mutex_.
  Place Resolve(const VolumeRecord& source, std::optional<Instant> at);
  TimelineRecord ForkTimeline(const Place& place);
  // Binds the volume to a new timeline that begins as the place was.
  void GoBack(VolumeRecord record, const Place& place, TimelineId next,
              CatalogStore::Change* change, std::optional<Instant> undoes = std::nullopt);
  Totals TotalsAt(TimelineId timeline, Instant at);
  std::shared_ptr<ViewVolume> MakeFixed(const Place& place);
  const Mark& NeedMark(const VolumeRecord& record, const std::string& label);
  void NeedNoMark(const VolumeRecord& record, const std::string& label);
  // What a rollback of each starts from.
  std::vector<Place> ResolveRollBack(const std::set<std::string>& volumes, Instant at);
  Instant PutMarks(const std::map<std::string, std::string>& volumes, const std::string& label,
                   const std::string& note, std::optional<Instant> at);
  void MakeEmpty(const CreateRequest& request, VolumeRecord record);
  void MakeClone(const CreateRequest& request, const VolumeRecord& source, VolumeRecord record);
  void MakeSnapshot(const CreateRequest& request, const VolumeRecord& source, VolumeRecord record);
  void RollBack(const CreateRequest& request, const VolumeRecord& source, VolumeRecord record);
  bool HeadIsOpen(TimelineId timeline);
  std::shared_ptr<Timeline> OpenTimeline(TimelineId timeline);  // null if it is not
  // Every operation of the timeline at or before `until` that was done is in the index then, also
  // those that were answered with an error; what a view shows never changes. Needs the catalog's
  // mutex. Throws what the index says.
  void WaitForOperations(TimelineId timeline, Instant until = kInstantMax);
  // What a durable view or timeline starts from has to be as durable.
  void SyncPlace(const Place& place);
  void SyncBeforeFlush();
  void NoteDurable();  // of all journals that are open

  std::shared_ptr<ViewVolume> OpenHead(const TimelineRecord& record, std::vector<View::Link> chain);
  void CloseHead(TimelineId id, Timeline& timeline, ViewVolume* volume);
  uint64_t DiskBytes(TimelineId timeline);
  void DiscardTimeline(TimelineId id);
  void CheckRetention(const VolumeRecord& record, const RetentionSettings& changes, uint64_t live);
  void EndMarks(VolumeId volume, CatalogStore::Change* change);
  std::vector<Pin> PinsOf(const VolumeRecord& record);  // without their bytes
  uint64_t HistoryBytes(const VolumeRecord& record);    // needs no mutex
  uint64_t FreeBytes() const;                           // of the disk
  [[noreturn]] void RefuseUnkept(const VolumeRecord& source, Instant at);

  std::filesystem::path root_;
  FileLayer* files_;
  std::optional<RootLock> lock_;
  const std::function<uint64_t()> wall_clock_;
  InstantClock clock_;
  std::mutex clock_file_mutex_;
  ClockFile clock_file_;
  uint64_t name_seed_ = 0;
  uint64_t index_floor_ = 0;  // guarded by clock_file_mutex_
  std::atomic<bool> index_damaged_{false};
  bool no_room_for_index_ = false;  // to make it again
  const IndexTuning index_tuning_;
  std::unique_ptr<Index> index_;
  std::unique_ptr<SegmentReader> segments_;
  std::unique_ptr<SegmentPool> pool_;
  std::unique_ptr<MovedData> moved_data_;
  StoreContext context_;

  std::mutex catalog_mutex_;  // guards catalog_ and broken_; taken before heads_mutex_
  std::unique_ptr<CatalogStore> catalog_;
  std::map<TimelineId, std::string> broken_;  // timelines whose journals did not recover, and why

  std::mutex heads_mutex_;  // guards what follows
  std::list<std::vector<View::Link>>
      open_views_;  // chains of open fixed views: what they show stays
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

  const uint64_t max_segment_bytes_;
  const RetentionSettings defaults_;
  const CollectorOptions collector_options_;
  Ballast ballast_;
  MoveWatch moves_;
  WriteRates write_rates_;
  std::atomic<uint64_t> appended_bytes_{0};  // to all journals, since the store was opened
  std::atomic<bool> collect_soon_{false};
  std::atomic<bool> collecting_ends_{false};
  std::atomic<bool> making_room_{false};
  std::mutex room_mutex_;  // guards the next two
  uint64_t no_room_until_ns_ = 0;
  uint64_t no_room_at_bytes_ = 0;  // free on the disk when nothing was to be had
  // The following belong to the run under way.
  std::map<VolumeId, Instant> forced_horizons_;  // what space asks for, beyond the policies
  std::map<VolumeId, Instant> forced_points_;    // schedules' points before these go
  std::map<VolumeId, std::string> pressures_;
  std::set<MoveWatch::SegmentKey> damaged_segments_;
  mutable std::mutex expiring_mutex_;  // guards the next
  // When (by a steady clock) segments leave their ranges, and their bytes; as of the last run.
  std::vector<std::pair<uint64_t, uint64_t>> expiring_;
  std::atomic<uint64_t> kept_bytes_{0};
  std::atomic<bool> much_is_dead_{false};
  uint64_t catalog_bytes_ = 0;  // of its journal after it was last trimmed
  std::atomic<uint64_t> appended_at_last_run_{0};
  std::atomic<uint64_t> last_run_ns_{0};  // of a steady clock
  uint64_t no_relief_until_ns_ =
      0;  // pressure that a run could not relieve is not tried again at once
  std::unique_ptr<Collector> collector_;  // ends before everything else does
};

}  // namespace rw
