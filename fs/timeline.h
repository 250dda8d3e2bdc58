// The head of a timeline, open for writing: its journal, its view, and its counters.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "fs/journal.h"
#include "fs/move_watch.h"
#include "fs/write_watch.h"
#include "metadata/clock.h"
#include "metadata/head_names.h"
#include "metadata/view.h"

namespace rw {

// What all volumes of a store share.
struct StoreContext {
  FileLayer* files = nullptr;
  std::filesystem::path root;
  Index* index = nullptr;
  SegmentReader* segments = nullptr;
  InstantClock* clock = nullptr;
  MoveWatch* moves = nullptr;
  SegmentPool* pool = nullptr;
  std::atomic<uint64_t>* appended_bytes = nullptr;  // to all journals
  // Operations wait: what is free is for what it takes to free more.
  const std::atomic<bool>* making_room = nullptr;
  uint64_t max_segment_bytes = kMaxSegmentBytes;
  std::function<void()> segment_begun;  // called under the timeline's mutex, must not wait
};

struct Caller;

class Timeline {
 public:
  // Recovers the journal into the index. `chain` is the head's.
  Timeline(const StoreContext& context, const TimelineRecord& record, std::vector<View::Link> chain,
           bool clean);

  const TimelineRecord& record() const { return record_; }
  const View& view() const { return view_; }
  Instant last_instant() const;  // of the newest operation; before any, when the timeline was made
  // Bytes that were appended to the journal since it was opened.
  uint64_t appended_bytes() const { return appended_bytes_.load(std::memory_order_relaxed); }

  // Everything below, but for Sync, is for the holder of this. An operation takes its instant and
  // commits under it, so whoever has held it knows that no operation of an earlier instant is still
  // under way.
  std::mutex& mutex() { return mutex_; }
  // For operations. std::mutex is not fair: an application that writes without a pause would get it
  // again and again.
  std::unique_lock<std::mutex> LockForOperation() {
    if (upkeep_waits_.load(std::memory_order_relaxed) > 0) const std::lock_guard turn(turn_);
    return std::unique_lock(mutex_);
  }
  // For upkeep, whose turns are short: comes before operations that begin later.
  std::unique_lock<std::mutex> LockForUpkeep() {
    ++upkeep_waits_;
    const std::lock_guard turn(turn_);
    std::unique_lock lock(mutex_);
    --upkeep_waits_;
    return lock;
  }

  HeadNames& names() { return names_; }
  const Totals& totals() const { return totals_; }
  Ino NextIno() const { return next_ino_; }
  Instant NextInstant() { return context_.clock->Next(); }

  struct Operation {
    RecordType type = RecordType::kSetAttr;
    Instant instant;
    uint64_t unique = 0;
    RecordBody body;  // totals: of the timeline, after the operation
    std::span<const char> data;
  };
  // An operation that got into the journal but not into the index is committed first, before
  // anything else may be; true if there was one. It was answered with an error, yet it is done:
  // whoever caches must look again.
  bool ApplyPending();

  // Journal first, index second. `operation.body.mutations` is resolved when it returns; where the
  // data went is returned.
  Journal::Appended Commit(Operation* operation);

  // What is committed from now on is in another segment of the journal. Takes the mutex.
  void BeginSegment();

  // Everything committed before the call survives the machine when this returns.
  void Sync() { journal_->Sync(); }
  void NoteDurable() { journal_->NoteDurable(); }
  JournalPosition end() const { return journal_->end(); }
  // Whether an operation at or before `until` is in the journal and not yet in the index.
  bool pending(Instant until = kInstantMax) const {
    return pending_.has_value() && pending_->at <= until;
  }
  // A sync has failed, so that nobody knows what the disk has; it refuses everything.
  bool failed() const { return journal_->failed(); }
  // Why the disk did not take the newest write; empty if it did.
  std::string write_failure() const { return writes_.why(); }

 private:
  std::shared_ptr<const Writer> TakeWriter(Operation* operation);
  void RememberWriter(const std::shared_ptr<const Writer>& writer, uint32_t segment);
  void KeepUnsettled(const std::vector<ChunkMutation>& chunks);
  void Replay(const ScannedRecord& record);
  void Apply(RecordType type, Instant at, const RecordBody& body, const Journal::Appended& where);
  Journal::Appended Append(const Operation& operation);

  StoreContext context_;
  TimelineRecord record_;
  View view_;
  HeadNames names_;
  WriteWatch writes_;
  std::mutex mutex_;
  std::mutex turn_;  // held by upkeep while it waits for mutex_
  std::atomic<int> upkeep_waits_{0};
  std::unique_ptr<Journal> journal_;
  Totals totals_;
  Ino next_ino_ = 0;
  std::map<TimelineId, uint32_t> settled_;  // while the journal is replayed
  std::set<std::pair<TimelineId, uint32_t>> unsettled_;
  // Whom the journal's present segment knows, by thread. Segments come and go, so each says for
  // itself who wrote what is in it.
  std::map<uint32_t, std::shared_ptr<const Writer>> writers_;
  uint32_t writers_segment_ = 0;
  std::atomic<uint64_t> last_operation_{0};
  std::atomic<uint64_t> appended_bytes_{0};
  struct Pending {
    RecordType type;
    Instant at;
    RecordBody body;  // resolved
    Journal::Appended where;
  };
  std::optional<Pending> pending_;
};

}  // namespace rw
