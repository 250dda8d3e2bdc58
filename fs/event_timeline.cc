#include "fs/event_timeline.h"

#include <algorithm>

#include "metadata/time_text.h"

namespace rw {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kQuietNs = 10 * kSecond;  // without an operation
// So many removals within that time are a burst; it ends after as long a time without one.
constexpr size_t kBurstRemovals = 10;
constexpr uint64_t kBurstNs = 10 * kSecond;
constexpr size_t kMaxNotes = 4;  // of a bucket

}  // namespace

void EventTimeline::Begin(const EventsBegin& begin) {
  from_ = std::max({from_, begin.read.begins, begin.created});
  until_ = std::max(from_, std::min(until_, begin.read.until));
  width_ns_ = (until_.ns - from_.ns) / wanted_ + 1;
  for (size_t i = 0; i < wanted_; ++i) {
    buckets_.emplace_back();
    buckets_.back().from = Instant{from_.ns + i * width_ns_};
  }
  for (const Mark& mark : begin.marks) {
    Note(mark.made, "mark " + mark.label);
    if (!mark_ || mark_->at <= mark.at) mark_ = {mark.at, "mark " + mark.label};
  }
  for (const EventsBegin::Rollback& rollback : begin.rollbacks) {
    Note(rollback.at, "rollback" + (rollback.to ? " to " + FormatInstant(*rollback.to) : ""));
    rollback_ = {Before(rollback.at), "just before the last rollback"};
  }
}

void EventTimeline::Add(const Event& event) {
  ActivityBucket& bucket = BucketOf(event.at);
  if (event.synced) {
    synced_ = event.synced;
    ++BucketOf(std::max(last_, *event.synced)).syncs;
  }
  if (event.type == RecordType::kMount) {
    Note(event.at, "mount " + event.body.mutations.holder);
    mount_ = {event.at, "the last mount, by " + event.body.mutations.holder};
    return;
  }
  if (event.type == RecordType::kUnmount) {
    Note(event.at, "unmount " + event.body.mutations.holder);
    unmount_ = {event.at, "the last unmount, by " + event.body.mutations.holder};
    return;
  }
  if (event.type == RecordType::kForget || event.type == RecordType::kPrepare) return;
  if (last_ != Instant{} && event.at.ns - last_.ns >= kQuietNs)
    quiet_ = {last_, "the last operation before it was quiet for " +
                         std::to_string((event.at.ns - last_.ns) / kSecond) + " s"};
  ++bucket.operations;
  if (event.type == RecordType::kWrite) bucket.bytes += event.body.length;
  if (event.type == RecordType::kCreate) ++bucket.creates;
  if (event.type == RecordType::kUnlink || event.type == RecordType::kRmdir) {
    ++bucket.removals;
    SeeRemoval(event);
  }
  last_ = event.at;
}

void EventTimeline::SeeRemoval(const Event& event) {
  if (!removals_.empty() && event.at.ns - removals_.back().at.ns >= kBurstNs) {
    removals_.clear();
    in_burst_ = false;
  }
  removals_.push_back({event.at, synced_, last_ == Instant{} ? Before(event.at) : last_});
  if (removals_.size() > kBurstRemovals) removals_.pop_front();
  if (in_burst_ || removals_.size() < kBurstRemovals ||
      event.at.ns - removals_.front().at.ns >= kBurstNs)
    return;
  in_burst_ = true;
  const Removal& first = removals_.front();
  burst_ = first.synced ? RestorePoint{*first.synced, "the last sync before many removals, from " +
                                                          FormatInstant(first.at) + " on"}
                        : RestorePoint{first.before, "just before many removals, from " +
                                                         FormatInstant(first.at) + " on"};
}

void EventTimeline::End() {
  if (last_ != Instant{} && until_.ns - last_.ns >= kQuietNs) {
    restore_points_.push_back({last_, "the last operation; quiet since"});
  }
  for (const auto* point : {&quiet_, &burst_, &mount_, &unmount_, &mark_, &rollback_}) {
    if (*point) restore_points_.push_back(**point);
  }
  std::stable_sort(restore_points_.begin(), restore_points_.end(),
                   [](const RestorePoint& a, const RestorePoint& b) { return a.at < b.at; });
}

ActivityBucket& EventTimeline::BucketOf(Instant at) {
  const uint64_t place = at < from_ ? 0 : (at.ns - from_.ns) / width_ns_;
  return buckets_[std::min<uint64_t>(place, buckets_.size() - 1)];
}

void EventTimeline::Note(Instant at, std::string text) {
  ActivityBucket& bucket = BucketOf(at);
  if (bucket.notes.size() == kMaxNotes) {
    ++bucket.more_notes;
  } else {
    bucket.notes.push_back(std::move(text));
  }
}

}  // namespace rw
