// What is no longer kept goes: horizons move on, versions and segments go, live data move out of
// segments that hold little else.
//
// The order in which a run works is what makes it safe; see fs/README.md, "Collection".
#include <errno.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>

#include "fs/segment_mover.h"
#include "fs/stopwatch.h"
#include "fs/store_impl.h"
#include "metadata/quantity.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"

namespace rw {
namespace {

// A run is due when so much was written since the last one, or has left its range, or this part of
// what is kept.
constexpr uint64_t kRunEveryBytes = 64 << 20;
constexpr uint64_t kRunEveryPart = 20;
constexpr uint64_t kHasteAfterPart = 4;  // of that
constexpr uint64_t kRunEveryNs = 600'000'000'000;
// Segments are cleaned when this part of what is kept lies dead in them, until half of it does.
constexpr uint64_t kDeadPart = 20;
// More than this part, and the run is in haste until a later one finds less.
constexpr uint64_t kMuchDeadPart = 10;
// Copying more than this part of a segment to free it does not pay.
constexpr uint64_t kMaxLivePercent = 87;
constexpr uint64_t kMaxMovedBytesPerRun = 512 << 20;
// Reading so much that is not needed takes less than another request to the disk.
constexpr uint64_t kPrefetchedGap = 32 << 10;
// Freed segments that wait to be used again.
constexpr uint64_t kPoolPart = 32;  // of what is kept
constexpr uint64_t kMaxPoolSegments = 8;
constexpr uint64_t kTrimCatalogAtBytes = 4 << 20;
constexpr uint64_t kNextReliefNs = 30'000'000'000;
constexpr uint64_t kMaxAutomaticReserve = uint64_t{4} << 30;

uint64_t BytesBetweenRuns(uint64_t kept_bytes) {
  return std::max(kRunEveryBytes, kept_bytes / kRunEveryPart);
}

// How long a run would have taken at its pace, without haste.
double UnhurriedMilliseconds(const CollectorOptions& pace, const Stopwatch& run,
                             uint64_t moved_bytes) {
  double ms = static_cast<double>(run.worked_ms()) * 100 / std::max(pace.cpu_percent, 1u);
  if (pace.copy_bytes_per_second > 0)
    ms += static_cast<double>(moved_bytes) * 1000 / static_cast<double>(pace.copy_bytes_per_second);
  return ms;
}

Instant Ago(Instant now, uint64_t ns) { return Instant{now.ns > ns ? now.ns - ns : 0}; }

}  // namespace

uint64_t StoreImpl::SteadyNanoseconds() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

// --- what is kept from now on ---

void StoreImpl::MoveHorizon(const VolumeRecord& record, Instant now, CatalogStore::Change* change) {
  const RetentionPolicy policy = PolicyOf(record);
  VolumeRecord moved = record;
  Instant target = Ago(now, policy.range_ns);
  if (const auto forced = forced_horizons_.find(record.id); forced != forced_horizons_.end())
    target = std::max(target, forced->second);
  // Where nothing was written since the horizon, moving it would give nothing back.
  const auto covered = index_->FindCovered(record.timeline());
  const Instant last =
      std::max(covered ? covered->last_operation : record.created, record.bindings.back().since);
  if (target <= record.horizon || last < record.horizon) target = record.horizon;
  std::erase_if(moved.points, [&](Instant point) { return !policy.Wants(point, now); });
  for (const Instant point : policy.Points(record.horizon, target, now))
    moved.points.push_back(point);
  if (const auto dropped = forced_points_.find(record.id); dropped != forced_points_.end()) {
    std::erase_if(moved.points, [&](Instant point) { return point < dropped->second; });
  }
  moved.horizon = target;
  if (const auto why = pressures_.find(record.id); why != pressures_.end())
    moved.pressure = why->second;
  if (moved.horizon != record.horizon || moved.points != record.points)
    change->put_volumes.push_back(moved);
}

void StoreImpl::Advance() {
  std::unique_lock lock(catalog_mutex_);
  const Instant now = clock_.Next();
  CatalogStore::Change change;
  for (const auto& [name, record] : catalog_->volumes()) {
    if (record.writable()) MoveHorizon(record, now, &change);
  }
  for (const auto& [id, record] : catalog_->removed()) {
    if (*record.expires > now) continue;
    change.end_removed.push_back(id);
    EndMarks(id, &change);
  }
  forced_horizons_.clear();
  forced_points_.clear();
  pressures_.clear();
  const std::vector<TimelineId> unneeded = CommitAndDrop(std::move(change));
  lock.unlock();
  for (const TimelineId id : unneeded) DeleteTimelineData(id);
}

std::vector<TimelineId> StoreImpl::CommitAndDrop(CatalogStore::Change change) {
  if (!change.empty()) catalog_->Commit(change);
  const auto kept = catalog_->KeptWith(OpenViews());
  std::vector<TimelineId> unneeded;
  change = {};
  for (const auto& [id, record] : catalog_->timelines()) {
    if (record.dropped || record.absorbed_by || kept.contains(id)) continue;
    unneeded.push_back(id);
    change.put_timelines.push_back(record);
    change.put_timelines.back().dropped = true;
  }
  if (unneeded.empty()) return unneeded;
  catalog_->ForgetTimelines(unneeded, &change);
  catalog_->Commit(change);
  return unneeded;
}

std::vector<std::vector<View::Link>> StoreImpl::OpenViews() {
  const std::lock_guard lock(heads_mutex_);
  return {open_views_.begin(), open_views_.end()};
}

// --- a run ---

StoreImpl::Survey StoreImpl::MakeSurvey(const VolumeRecord* replaced) {
  const std::lock_guard lock(catalog_mutex_);
  Survey survey;
  survey.kept = catalog_->KeptWith(OpenViews(), replaced);
  for (const auto& [id, record] : catalog_->timelines()) {
    const auto kept = survey.kept.find(id);
    if (record.absorbed_by && !record.dropped) survey.absorbed.push_back(id);
    if (record.dropped || kept == survey.kept.end()) continue;
    survey.timelines[id] = {record.first_ino, record.parent.has_value(), &kept->second};
  }
  return survey;
}

void StoreImpl::FindCandidates(Survey* survey, bool thorough) {
  std::set<TimelineId> broken;
  {
    const std::lock_guard lock(catalog_mutex_);
    for (const auto& [id, why] : broken_) broken.insert(id);
  }
  const Instant young = thorough ? kInstantMax : Ago(clock_.last(), collector_options_.grace_ns);
  for (const auto& [id, timeline] : survey->timelines) {
    const std::vector<SegmentInfo> segments = segments_->List(id);
    // From where the index ends, a journal is needed to go on with.
    const auto covered = index_->FindCovered(id);
    const uint32_t needed_from = covered && !broken.contains(id) ? covered->position.segment : 0;
    for (size_t i = 0; i < segments.size(); ++i) {
      // Everything in it is older than the range; the journal goes on in a later one.
      const bool before_range =
          i + 1 < segments.size() && segments[i].number < needed_from &&
          segments[i + 1].generation <= std::min(timeline.kept->range_from(), young).ns;
      if (!before_range) {
        survey->bytes_in_range += segments[i].bytes;
        survey->in_range[id].push_back(segments[i]);
        continue;
      }
      survey->live.Watch(id, segments[i].number, segments[i].bytes);
      survey->candidates.push_back(
          {id, segments[i].number, segments[i].bytes, Instant{segments[i + 1].generation}, 0});
    }
    if (needed_from == 0) continue;
    // What was moved is older than the range it was moved in, and so seen by its first instant.
    for (const SegmentInfo& segment : segments_->ListMoved(id)) {
      survey->live.Watch(id, segment.number, segment.bytes);
      survey->candidates.push_back({id, segment.number, segment.bytes, Instant{}, 0});
    }
  }
}

void StoreImpl::FindAbsorbed(Survey* survey) {
  for (const TimelineId id : survey->absorbed) {
    // Its keys go in a later run than that which copied them: nobody is between two lookups any
    // more.
    if (index_->LastIno(id) != 0) {
      for (const auto& volume : OpenVolumes()) volume->WaitForOperations();
      index_->DropTimeline(id);
    }
    std::vector<SegmentInfo> segments = segments_->List(id);
    const std::vector<SegmentInfo> moved = segments_->ListMoved(id);
    segments.insert(segments.end(), moved.begin(), moved.end());
    for (const SegmentInfo& segment : segments) {
      survey->live.Watch(id, segment.number, segment.bytes);
      survey->candidates.push_back({id, segment.number, segment.bytes, kInstantMax, 0});
    }
  }
}

CollectReport StoreImpl::CollectOnce(bool thorough) {
  CollectReport report;
  Stopwatch watch;
  RelievePressure();
  Advance();
  // From here on nobody can ask for what is not in the survey, unless it is newer than the range's
  // begin.
  Survey survey = MakeSurvey(nullptr);
  FindCandidates(&survey, thorough);
  FindAbsorbed(&survey);
  watch.Did("survey");
  Sweep::Options options;
  options.go_on = [this] { return GoOn(); };
  Sweep sweep(index_.get(), survey.timelines, &survey.live, std::move(options));
  const bool complete = sweep.Run();
  report.versions = sweep.counts().dropped;
  if (!complete) return report;
  watch.Did("sweep");
  uint64_t kept_bytes = survey.bytes_in_range, dead_bytes = 0;
  std::vector<Candidate> dead, rest;
  // Of a segment that an earlier run began to empty, versions within the range may hold what the
  // range's first instant does not see there any more: no mark does not say that it is free.
  const std::set<MoveWatch::SegmentKey> emptying = FindEmptying();
  const std::set<MoveWatch::SegmentKey> held = FindHeld(survey);
  std::vector<Candidate> victims;
  for (Candidate& candidate : survey.candidates) {
    const MoveWatch::SegmentKey key{candidate.timeline, candidate.segment};
    candidate.live_bytes = survey.live.LiveBytes(candidate.timeline, candidate.segment);
    kept_bytes += candidate.live_bytes;
    dead_bytes += candidate.dead_bytes();
    if (damaged_segments_.contains(key) || held.contains(key)) continue;
    if (emptying.contains(key)) {
      victims.push_back(candidate);
    } else {
      (candidate.live_bytes == 0 ? dead : rest).push_back(candidate);
    }
  }
  const bool much_is_dead = dead_bytes > kept_bytes / kMuchDeadPart;
  if (much_is_dead) much_is_dead_ = true;
  report.journal_bytes += Free(survey, dead);
  watch.Did("free");
  const bool resumed = !victims.empty();
  const std::vector<Candidate> chosen = ChooseVictims(rest, kept_bytes, thorough);
  victims.insert(victims.end(), chosen.begin(), chosen.end());
  if (!victims.empty()) {
    std::vector<Candidate> emptied;
    if (!Prefetch(survey.live, victims)) return report;
    watch.Did("read ahead");
    report.moved_bytes = MoveOut(victims, resumed, &emptied);
    watch.Did("move");
    report.journal_bytes += Free(survey, emptied);
    watch.Did("free");
  }
  LimitHistories(survey);
  EndEmptyTimelines();
  ShortenChains();
  TrimCatalog();
  kept_bytes_ = kept_bytes;
  LimitPool();
  NoteExpiring(survey);
  report.complete = true;
  watch.Did("end");
  // A run that would go on when the next is due hurries from its begin on: what it frees is missed
  // from then on.
  const double due_ms = static_cast<double>(watch.passed_ms()) *
                        static_cast<double>(BytesBetweenRuns(kept_bytes)) /
                        static_cast<double>(appended_bytes_ - appended_at_last_run_ + 1);
  if (!thorough)
    much_is_dead_ = much_is_dead ||
                    UnhurriedMilliseconds(collector_options_, watch, report.moved_bytes) > due_ms;
  spdlog::debug(
      "collected in {}: {} versions went or more, {} were seen, {} became full; {} MiB of "
      "journal went, {} MiB "
      "were moved, {} MiB are kept",
      watch.Text(), report.versions, sweep.counts().versions, sweep.counts().made_full,
      report.journal_bytes >> 20, report.moved_bytes >> 20, kept_bytes >> 20);
  return report;
}

void StoreImpl::LimitPool() {
  uint64_t limit = std::min(kept_bytes_ / kPoolPart, kMaxPoolSegments * max_segment_bytes_);
  if (kept_bytes_ >= kMaxPoolSegments * max_segment_bytes_)
    limit = std::max(limit, max_segment_bytes_);
  pool_->Limit(BytesShort() > 0 ? 0 : limit);
}

std::vector<StoreImpl::Candidate> StoreImpl::ChooseVictims(std::vector<Candidate> rest,
                                                           uint64_t kept_bytes,
                                                           bool thorough) const {
  uint64_t dead = 0;
  for (const Candidate& candidate : rest) dead += candidate.dead_bytes();
  std::vector<Candidate> victims;
  const uint64_t bearable = thorough ? 0 : kept_bytes / kDeadPart;
  if (dead <= bearable) return victims;
  // Those that give back most for what has to be copied.
  std::sort(rest.begin(), rest.end(), [](const Candidate& a, const Candidate& b) {
    return a.live_bytes * b.bytes < b.live_bytes * a.bytes;
  });
  uint64_t moved = 0;
  for (const Candidate& candidate : rest) {
    if (dead <= bearable / 2 || moved >= kMaxMovedBytesPerRun ||
        candidate.live_bytes * 100 > candidate.bytes * kMaxLivePercent) {
      break;
    }
    victims.push_back(candidate);
    dead -= std::min(dead, candidate.dead_bytes());
    moved += candidate.live_bytes;
  }
  return victims;
}

std::set<MoveWatch::SegmentKey> StoreImpl::FindEmptying() {
  std::set<MoveWatch::SegmentKey> emptying;
  const std::string all(1, static_cast<char>(KeyType::kEmptying));
  const auto cursor = index_->NewCursor(all, Index::Purpose::kScan);
  for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
    emptying.insert(SplitSegmentKey(cursor->key()));
  }
  return emptying;
}

// Held are segments that versions within a range may refer to although the range's first instant
// does not see what they hold there: it sees another copy. Once all ranges begin later than those
// versions, the marks tell about these segments what they tell about others.
std::set<MoveWatch::SegmentKey> StoreImpl::FindHeld(const Survey& survey) {
  std::set<MoveWatch::SegmentKey> held;
  Index::Entries ended;
  // What was restored refers again to data that the range's first instant does not see (see
  // fs/README.md, "Restoring"), until the range of its timeline begins later.
  const std::string brought_back(1, static_cast<char>(KeyType::kBroughtBack));
  const auto cursor = index_->NewCursor(brought_back, Index::Purpose::kScan);
  for (cursor->Seek(brought_back); cursor->Valid(); cursor->Next()) {
    const BroughtBack key = SplitBroughtBackKey(cursor->key());
    const auto timeline = survey.timelines.find(key.timeline);
    if (timeline != survey.timelines.end() && timeline->second.kept->range_from() < key.at) {
      held.insert({key.of, key.segment});
    } else {
      ended.emplace_back(std::string(cursor->key()), std::nullopt);
    }
  }
  const std::vector<Index::Held> all = index_->ListHeld();
  Instant begin = kInstantMax;
  for (const auto& [id, timeline] : survey.timelines) {
    const auto covered = index_->FindCovered(id);
    const Instant from = timeline.kept->range_from();
    if (!covered || covered->last_operation > from) begin = std::min(begin, from);
  }
  for (const Index::Held& one : all) {
    if (one.until > begin) {
      held.insert({one.timeline, one.segment});
    } else {
      ended.emplace_back(HeldKey(one.timeline, one.segment), std::nullopt);
    }
  }
  if (!ended.empty()) index_->Rewrite(ended);
  return held;
}

void StoreImpl::EndHolds(const std::set<MoveWatch::SegmentKey>& held) {
  Index::Entries ended;
  for (const auto& [timeline, segment] : held)
    ended.emplace_back(HeldKey(timeline, segment), std::nullopt);
  if (!ended.empty()) index_->Rewrite(ended);
}

// Whatever may refer to them has been committed by now. Those without an instant stay held.
void StoreImpl::DateHeld() {
  try {
    Index::Entries dated;
    for (const Index::Held& one : index_->ListHeld()) {
      if (one.until == kInstantMax)
        dated.emplace_back(HeldKey(one.timeline, one.segment), EncodeHeldUntil(clock_.Next()));
    }
    if (!dated.empty()) index_->Rewrite(dated);
  } catch (const Refused& refused) {
    spdlog::error("segments stay held: {}", refused.what());
  }
}

// They are read in the order of the files they belong to, which is none in the segments: what the
// kernel has forgotten of them would be read one frame at a time, and waited for each time.
bool StoreImpl::Prefetch(const LiveMap& live, const std::vector<Candidate>& victims) {
  for (const Candidate& victim : victims) {
    bool go_on = true;
    live.ForEachLive(victim.timeline, victim.segment, kPrefetchedGap,
                     [&](uint64_t offset, uint64_t bytes) {
                       go_on = go_on && GoOn();
                       if (go_on)
                         segments_->WillRead(victim.timeline, victim.segment, offset, bytes);
                     });
    if (!go_on) return false;
  }
  return true;
}

// `resumed`: some of the victims were victims of a run that came to no end.
uint64_t StoreImpl::MoveOut(const std::vector<Candidate>& victims, bool resumed,
                            std::vector<Candidate>* emptied) {
  std::set<MoveWatch::SegmentKey> keys;
  Index::Entries begun;
  for (const Candidate& victim : victims) {
    keys.insert({victim.timeline, victim.segment});
    begun.emplace_back(EmptyingKey(victim.timeline, victim.segment), "");
  }
  index_->Rewrite(begun);  // before the first reference is changed, so as durable as that
  SegmentMover mover(
      context_, moved_data_.get(), keys,
      [this](TimelineId id) {
        const std::lock_guard lock(catalog_mutex_);
        return AbsorberOf(id);
      },
      [this] { return OpenVolumes(); });
  const auto end = [this] {
    moved_data_->End();  // what was moved until then is referred to
    DateHeld();
  };
  bool complete = false;
  try {
    complete =
        mover.Run([this] { return GoOn(); }, [this](uint64_t bytes) { collector_->Copied(bytes); });
  } catch (const Refused&) {
    end();
    throw;
  }
  // All references to one frame are references to one place now: the marks tell what they always
  // do. If an earlier run has moved some of them, or some had to stay, there may be two.
  if (complete && !resumed && mover.damaged().empty()) EndHolds(mover.held());
  end();
  for (const MoveWatch::SegmentKey& damaged : mover.damaged()) damaged_segments_.insert(damaged);
  if (complete) {
    for (const Candidate& victim : victims) {
      if (!mover.damaged().contains({victim.timeline, victim.segment})) emptied->push_back(victim);
    }
  }
  return mover.moved_bytes();
}

std::vector<std::shared_ptr<ViewVolume>> StoreImpl::OpenVolumes() {
  const std::lock_guard lock(heads_mutex_);
  std::vector<std::shared_ptr<ViewVolume>> open;
  for (const auto& [id, head] : heads_) {
    if (auto volume = head.volume.lock()) open.push_back(std::move(volume));
  }
  return open;
}

uint64_t StoreImpl::Free(const Survey& survey, const std::vector<Candidate>& freed) {
  if (freed.empty()) return 0;
  if (!KeepTotals(survey, freed)) return 0;
  std::set<MoveWatch::SegmentKey> gone;
  for (const Candidate& candidate : freed) gone.insert({candidate.timeline, candidate.segment});
  DropSamples(survey, gone);
  // The index on the disk must not name what is going to be missing.
  try {
    index_->Flush();
  } catch (const Refused& refused) {
    if (refused.error() != ENOSPC || !ballast_.Drop()) throw;
    index_->Flush();
  }
  uint64_t bytes = 0;
  std::vector<std::filesystem::path> files;
  for (const Candidate& candidate : freed) {
    segments_->Forget(candidate.timeline, candidate.segment);
    files.push_back(segments_->TimelineDirectory(candidate.timeline) /
                    SegmentFileName(candidate.segment));
    bytes += candidate.bytes;
  }
  pool_->Free(files);
  for (const auto& [timeline, segment] : gone)
    segments_->Forget(timeline, segment);  // who has just opened it again
  Index::Entries ended;
  for (const auto& [timeline, segment] : gone) {
    ended.emplace_back(EmptyingKey(timeline, segment), std::nullopt);
    ended.emplace_back(HeldKey(timeline, segment), std::nullopt);
  }
  index_->Rewrite(ended);
  return bytes;
}

// Of the instants that stay, what a timeline held then was found by reading its journal: it has to
// be written down before that part of the journal goes.
bool StoreImpl::KeepTotals(const Survey& survey, const std::vector<Candidate>& freed) {
  std::map<TimelineId, Instant> until;
  for (const Candidate& candidate : freed) {
    if (survey.kept.contains(candidate.timeline))
      until[candidate.timeline] = std::max(until[candidate.timeline], candidate.end);
  }
  for (const auto& [id, end] : until) {
    const KeptInstants& kept = survey.kept.at(id);
    std::vector<Instant> instants = kept.points();
    if (kept.range_from() != kInstantMax) instants.push_back(kept.range_from());
    for (const Instant at : instants) {
      if (!GoOn()) return false;
      const auto sample = index_->FindSample(id, at);
      if (at > end || !sample || (sample->at == at && sample->position.segment == 0)) continue;
      const std::lock_guard lock(catalog_mutex_);
      index_->Rewrite({{WithInstant(SamplePrefix(id), at),
                        EncodeSample({JournalPosition{}, TotalsAt(id, at), at})}});
    }
  }
  return true;
}

void StoreImpl::DropSamples(const Survey& survey, const std::set<MoveWatch::SegmentKey>& gone) {
  std::set<TimelineId> timelines;
  for (const auto& [timeline, segment] : gone) {
    if (survey.kept.contains(timeline)) timelines.insert(timeline);
  }
  for (const TimelineId id : timelines) {
    Index::Entries entries;
    const std::string prefix = SamplePrefix(id);
    const auto cursor = index_->NewCursor(prefix, Index::Purpose::kScan);
    for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) {
      const Sample sample = DecodeSample(cursor->value(), rw::InstantOf(cursor->key()));
      const bool written_down = sample.position.segment == 0;
      if (written_down ? !survey.kept.at(id).Contains(sample.at)
                       : gone.contains({id, sample.position.segment})) {
        entries.emplace_back(std::string(cursor->key()), std::nullopt);
      }
    }
    index_->Rewrite(entries);
  }
}

// Each change of the catalog is a record of its own, and the newest say it all.
void StoreImpl::TrimCatalog() {
  const std::lock_guard lock(catalog_mutex_);
  const std::vector<SegmentInfo> segments = segments_->List(kControlTimeline);
  uint64_t bytes = 0;
  for (const SegmentInfo& segment : segments) bytes += segment.bytes;
  if (bytes < std::max(kTrimCatalogAtBytes, 4 * catalog_bytes_)) return;
  const uint32_t keep_from = catalog_->Rewrite();
  index_->Flush();
  for (const SegmentInfo& segment : segments) {
    if (segment.number >= keep_from) break;
    segments_->Forget(kControlTimeline, segment.number);
    files_->Remove(segments_->TimelineDirectory(kControlTimeline) /
                   SegmentFileName(segment.number));
  }
  catalog_bytes_ = DiskBytes(kControlTimeline);
}

// --- when there is too much of it ---

uint64_t StoreImpl::FreeBytes() const {
  struct statvfs disk;
  return statvfs(root_.c_str(), &disk) == 0 ? uint64_t{disk.f_bavail} * disk.f_frsize : 0;
}

// What is kept for such cases is given back if it takes that.
bool StoreImpl::HaveFree(uint64_t bytes) {
  if (FreeBytes() >= bytes) return true;
  ballast_.Drop();
  pool_->Limit(0);
  return FreeBytes() >= bytes;
}

uint64_t StoreImpl::BytesShort() const {
  struct statvfs disk;
  if (statvfs(root_.c_str(), &disk) != 0) return 0;
  const uint64_t total = uint64_t{disk.f_blocks} * disk.f_frsize;
  const uint64_t available = uint64_t{disk.f_bavail} * disk.f_frsize;
  const uint64_t reserve =
      collector_options_.reserve_bytes.value_or(std::min(total / 20, kMaxAutomaticReserve));
  return available < reserve ? reserve - available : 0;
}

void StoreImpl::RelievePressure() {
  if (BytesShort() > 0) pool_->Limit(0);
  const uint64_t needed = BytesShort();
  if (needed == 0) return;
  collector_->Hurry(true);
  std::unique_lock lock(catalog_mutex_);
  // The oldest unpinned history of all volumes: what was removed, then what lies longest in a
  // range, then the schedules' points.
  for (const auto& [id, record] : catalog_->removed()) {
    if (*record.expires <= clock_.last()) continue;
    spdlog::warn("the disk is short of {}: the removed volume {} is given up now",
                 FormatByteCount(needed), record.name);
    CatalogStore::Change change;
    VolumeRecord expired = record;
    expired.expires = clock_.Next();
    change.put_removed.push_back(expired);
    catalog_->Commit(change);
    return;
  }
  struct Old {
    Instant end;
    const VolumeRecord* record;
    uint64_t bytes;
  };
  std::vector<Old> oldest;
  for (const auto& [name, record] : catalog_->volumes()) {
    if (!record.writable()) continue;
    for (size_t b = 0; b < record.bindings.size(); ++b) {
      const Binding& binding = record.bindings[b];
      if (binding.timeline == kControlTimeline) continue;
      const Instant until =
          b + 1 < record.bindings.size() ? record.bindings[b + 1].since : clock_.last();
      const std::vector<SegmentInfo> segments = segments_->List(binding.timeline);
      for (size_t i = 0; i < segments.size(); ++i) {
        const Instant end = i + 1 < segments.size() ? Instant{segments[i + 1].generation} : until;
        if (end > record.horizon) oldest.push_back({end, &record, segments[i].bytes});
      }
    }
  }
  std::sort(oldest.begin(), oldest.end(), [](const Old& a, const Old& b) { return a.end < b.end; });
  uint64_t given_up = 0;
  const std::string now = FormatInstant(clock_.Next());
  for (const Old& old : oldest) {
    if (given_up >= needed) break;
    given_up += old.bytes;
    forced_horizons_[old.record->id] = old.end;
    pressures_[old.record->id] = "at " + now + " the disk was nearly full";
  }
  for (const auto& [name, record] : catalog_->volumes()) {
    const auto forced = forced_horizons_.find(record.id);
    if (forced == forced_horizons_.end()) continue;
    spdlog::warn("the disk is short of {}: {} keeps every write from {} on only",
                 FormatByteCount(needed), name, FormatInstant(forced->second));
  }
  if (!forced_horizons_.empty()) return;
  for (const auto& [name, record] : catalog_->volumes()) {
    if (record.points.empty()) continue;
    forced_points_[record.id] = record.points[record.points.size() / 2];
    if (record.points.size() == 1) forced_points_[record.id] = kInstantMax;
    pressures_[record.id] = "at " + now + " the disk was nearly full";
    spdlog::warn("the disk is short of {}: older points of {} are given up",
                 FormatByteCount(needed), name);
  }
}

void StoreImpl::LimitHistories(const Survey& survey) {
  const std::lock_guard lock(catalog_mutex_);
  std::map<TimelineId, uint64_t> before_range;
  for (const Candidate& candidate : survey.candidates)
    before_range[candidate.timeline] += candidate.live_bytes;
  for (const auto& [name, record] : catalog_->volumes()) {
    if (!record.writable()) continue;
    const auto limit = PolicyOf(record).history_limit_bytes;
    if (!limit) continue;
    uint64_t bytes = 0;
    std::vector<SegmentInfo> in_range;
    for (const Binding& binding : record.bindings) {
      bytes += before_range[binding.timeline];
      const auto found = survey.in_range.find(binding.timeline);
      if (found == survey.in_range.end()) continue;
      for (const SegmentInfo& segment : found->second) {
        bytes += segment.bytes;
        in_range.push_back(segment);
      }
    }
    const uint64_t live = TotalsAt(record.timeline(), kInstantMax).bytes;
    if (bytes <= live + *limit) continue;
    uint64_t over = bytes - live - *limit;
    for (size_t i = 0; i < in_range.size() && over > 0; ++i) {
      over -= std::min(over, in_range[i].bytes);
      forced_horizons_[record.id] =
          i + 1 < in_range.size() ? Instant{in_range[i + 1].generation} : clock_.Next();
    }
    if (forced_horizons_[record.id] <= record.horizon) {
      forced_horizons_.erase(record.id);
      if (record.points.empty()) continue;  // what remains is pinned, or not yet cleaned
      forced_points_[record.id] =
          record.points.size() == 1 ? kInstantMax : record.points[record.points.size() / 2];
    }
    collect_soon_ = true;
  }
}

// --- when ---

// In haste, too, when a quarter of what makes the next run due has come, and this one has not
// ended: at this pace it would be late.
bool StoreImpl::GoOn() {
  const uint64_t enough = BytesBetweenRuns(kept_bytes_) / kHasteAfterPart;
  return collector_->GoOn(much_is_dead_ || appended_bytes_ - appended_at_last_run_ > enough);
}

bool StoreImpl::CollectionIsDue() {
  {
    const std::lock_guard lock(heads_mutex_);
    for (const auto& [id, head] : heads_) {
      if (head.timeline) write_rates_.Sample(id, head.timeline->appended_bytes());
    }
  }
  const uint64_t written = appended_bytes_ - appended_at_last_run_;
  const uint64_t enough = BytesBetweenRuns(kept_bytes_);
  const uint64_t now = SteadyNanoseconds();
  return collect_soon_ || written >= enough || BytesExpired(now) >= enough ||
         now - last_run_ns_ >= kRunEveryNs || (now >= no_relief_until_ns_ && BytesShort() > 0);
}

// When each segment leaves its volume's range, if nobody writes any more; of those who write, what
// is written says it.
void StoreImpl::NoteExpiring(const Survey& survey) {
  const Instant now = clock_.last();
  const uint64_t steady = SteadyNanoseconds();
  std::vector<std::pair<uint64_t, uint64_t>> expiring;
  std::unique_lock lock(catalog_mutex_);
  for (const auto& [name, record] : catalog_->volumes()) {
    const auto segments = survey.in_range.find(record.timeline());
    if (!record.writable() || segments == survey.in_range.end()) continue;
    const Instant begin = Ago(now, PolicyOf(record).range_ns);
    for (size_t i = 0; i + 1 < segments->second.size(); ++i) {
      const uint64_t end = segments->second[i + 1].generation;
      if (end > begin.ns)
        expiring.emplace_back(steady + (end - begin.ns), segments->second[i].bytes);
    }
  }
  lock.unlock();
  const std::lock_guard expiring_lock(expiring_mutex_);
  expiring_ = std::move(expiring);
}

uint64_t StoreImpl::BytesExpired(uint64_t steady_ns) const {
  const std::lock_guard lock(expiring_mutex_);
  uint64_t bytes = 0;
  for (const auto& [at, segment_bytes] : expiring_) bytes += at <= steady_ns ? segment_bytes : 0;
  return bytes;
}

void StoreImpl::CollectInBackground() {
  if (BytesShort() == 0) ballast_.Make();
  collect_soon_ = false;
  appended_at_last_run_ = appended_bytes_.load();
  const bool short_of_space = BytesShort() > 0;
  const CollectReport report = CollectAndCount(false);
  last_run_ns_ = SteadyNanoseconds();
  if (report.journal_bytes > 0) ballast_.Make();
  if (short_of_space && report.journal_bytes == 0)
    no_relief_until_ns_ = last_run_ns_ + kNextReliefNs;
}

bool StoreImpl::MakeRoom() {
  const std::lock_guard lock(room_mutex_);  // whoever comes meanwhile finds it done
  const uint64_t before = FreeBytes();
  if (before >= 2 * max_segment_bytes_) return true;
  // Where nothing was to be had a moment ago, somebody else must have made room.
  if (SteadyNanoseconds() < no_room_until_ns_ && before <= no_room_at_bytes_) return false;
  pool_->Limit(0);
  if (FreeBytes() >= 2 * max_segment_bytes_) return true;
  making_room_ = true;
  ballast_.Drop();
  uint64_t freed = 0;
  // The first attempt may meet what a run under way failed with before the ballast was dropped.
  int failures = 0;
  for (bool again = true; again && !collector_->stopping();) {
    try {
      collector_->RunNow([&] {
        const CollectReport report = CollectAndCount(true);
        freed += report.journal_bytes;
        again = !report.complete;
      });
    } catch (const std::exception& error) {
      again = ++failures < 2;
      spdlog::error("making room on a full disk: {}", error.what());
    }
  }
  if (freed > 0) ballast_.Make();  // before it is written full again: the next run needs it, too
  making_room_ = false;
  if (freed > 0 || before > no_room_at_bytes_) {
    no_room_until_ns_ = 0;
    no_room_at_bytes_ = freed > 0 ? 0 : before;
    return true;
  }
  no_room_until_ns_ = SteadyNanoseconds() + kNextReliefNs;
  no_room_at_bytes_ = before;
  return false;
}

void StoreImpl::StopCollecting() {
  collecting_ends_ = true;
  const Collector::Pause pause(*collector_);  // which ends the run under way
}

CollectReport StoreImpl::Collect() {
  CollectReport sum;
  for (bool again = true; again;) {
    if (collecting_ends_) {
      throw Refused(ECANCELED,
                    "interrupted: the daemon ends; what is left is collected after the next start");
    }
    collector_->RunNow([&] {
      collect_soon_ = false;
      const CollectReport report = CollectAndCount(true);
      sum.versions += report.versions;
      sum.journal_bytes += report.journal_bytes;
      sum.moved_bytes += report.moved_bytes;
      const bool gained = report.moved_bytes < report.journal_bytes / 10 * 9;
      again = gained || collect_soon_ || !report.complete;
    });
  }
  return sum;
}

}  // namespace rw
