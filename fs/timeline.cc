#include "fs/timeline.h"

#include <errno.h>

#include <algorithm>
#include <cassert>
#include <new>

#include "fs/segment.h"
#include "metadata/refused.h"

namespace rw {
namespace {

// Distance in the journal between records that the index knows by their instant.
constexpr uint32_t kSampleBytes = 1 << 20;

}  // namespace

Timeline::Timeline(const StoreContext& context, const TimelineRecord& record,
                   std::vector<View::Link> chain, bool clean)
    : context_(context),
      record_(record),
      view_(context.index, std::move(chain)),
      names_(context.index, &view_),
      writes_(record.id) {
  const auto covered = context_.index->FindCovered(record_.id);
  totals_ = covered ? covered->totals : Totals{record_.base_bytes, record_.base_inodes};
  const JournalPosition from = covered ? covered->position : JournalPosition{};
  const Instant after = covered ? covered->instant : Instant{};
  last_operation_ = covered ? covered->last_operation.ns : 0;
  journal_ = std::make_unique<Journal>(
      context_.files, context_.segments->TimelineDirectory(record_.id), record_.id, from, after,
      clean, [this](const ScannedRecord& scanned) { Replay(scanned); });
  journal_->LimitSegments(context_.max_segment_bytes);
  journal_->UsePool(context_.pool);
  journal_->BeginNoneWhile(context_.making_room);
  context_.clock->Observe(journal_->last_instant());
  next_ino_ = std::max(context_.index->LastIno(record_.id) + 1, record_.first_ino);
}

Instant Timeline::last_instant() const {
  const Instant last{last_operation_.load(std::memory_order_relaxed)};
  return last == Instant{} ? record_.created : last;
}

void Timeline::Replay(const ScannedRecord& scanned) {
  RecordBody body = RecordBody::Decode(scanned.body, scanned.header.instant, record_.id);
  Journal::Appended where;
  where.record = scanned.position;
  where.next = scanned.next;
  where.first_frame = scanned.position.offset + scanned.header.frames_offset();
  where.bytes = scanned.next.offset - scanned.position.offset;
  body.mutations.Resolve(record_.id, where.record.segment, where.first_frame);
  KeepUnsettled(body.mutations.chunks);
  Apply(scanned.header.type, scanned.header.instant, body, where);
}

// A head knew of moved data, and the index does not: what the range's first instant sees is where
// it was before. Such segments are held.
void Timeline::KeepUnsettled(const std::vector<ChunkMutation>& chunks) {
  for (const ChunkMutation& m : chunks) {
    for (const Extent& extent : m.version.extents) {
      if (extent.segment < kFirstMovedSegment || extent.segment == Extent::kThisRecord) continue;
      const auto [settled, asked] = settled_.try_emplace(extent.timeline);
      if (asked) settled->second = context_.index->FindSettled(extent.timeline);
      if (extent.segment > settled->second &&
          unsettled_.insert({extent.timeline, extent.segment}).second)
        context_.index->Rewrite(
            {{HeldKey(extent.timeline, extent.segment), EncodeHeldUntil(kInstantMax)}});
    }
  }
}

void Timeline::Apply(RecordType type, Instant at, const RecordBody& body,
                     const Journal::Appended& where) {
  std::optional<Sample> sample;
  if (where.record.offset == kSegmentHeaderBytes ||
      where.record.offset / kSampleBytes != where.next.offset / kSampleBytes) {
    sample = Sample{where.record, body.totals, at};
  }
  const Instant last_operation =
      IsOperation(type) ? at : Instant{last_operation_.load(std::memory_order_relaxed)};
  context_.index->Commit(record_.id, at, body.mutations,
                         {where.next, at, body.totals, last_operation}, where.bytes, sample);
  context_.moves->Saw(record_.id, at, body.mutations.chunks);
  totals_ = body.totals;
  last_operation_.store(last_operation.ns, std::memory_order_relaxed);
  appended_bytes_.fetch_add(where.bytes, std::memory_order_relaxed);
  context_.appended_bytes->fetch_add(where.bytes, std::memory_order_relaxed);
  if (where.record.offset == kSegmentHeaderBytes && context_.segment_begun)
    context_.segment_begun();
  for (const InodeMutation& m : body.mutations.inodes) next_ino_ = std::max(next_ino_, m.ino + 1);
}

bool Timeline::ApplyPending() {
  if (!pending_) return false;
  Apply(pending_->type, pending_->at, pending_->body, pending_->where);
  pending_.reset();
  return true;
}

// The writer, where the journal's present segment does not know it: the operation says it then.
std::shared_ptr<const Writer> Timeline::TakeWriter(Operation* operation) {
  std::shared_ptr<const Writer>& writer = operation->body.mutations.writer;
  if (!writer) return nullptr;
  const auto known = writers_.find(writer->thread);
  if (known != writers_.end() && (known->second == writer || *known->second == *writer))
    writer.reset();
  return writer;
}

void Timeline::RememberWriter(const std::shared_ptr<const Writer>& writer, uint32_t segment) {
  if (segment != writers_segment_) writers_.clear();
  writers_segment_ = segment;
  if (writer) writers_[writer->thread] = writer;
}

void Timeline::BeginSegment() {
  const auto lock = LockForUpkeep();
  journal_->BeginSegment(NextInstant());
}

Journal::Appended Timeline::Append(const Operation& operation) {
  const std::string body = operation.body.Encode(operation.instant, record_.id);
  try {
    const Journal::Appended where =
        journal_->Append(operation.type, operation.instant, operation.unique, body, operation.data);
    writes_.Worked();
    return where;
  } catch (const Refused& refused) {
    writes_.Failed(refused);
    throw;
  }
}

Journal::Appended Timeline::Commit(Operation* operation) {
  assert(!pending_);
  const std::shared_ptr<const Writer> writer = TakeWriter(operation);
  const Journal::Appended where = Append(*operation);
  RememberWriter(writer, where.record.segment);
  operation->body.mutations.Resolve(record_.id, where.record.segment, where.first_frame);
  // It is done, if not yet to be seen: to try it again would do it twice.
  const auto refuse = [&](int error, const char* why) {
    pending_ = Pending{operation->type, operation->instant, operation->body, where};
    throw RefusedForGood(error, why);
  };
  try {
    Apply(operation->type, operation->instant, operation->body, where);
  } catch (const Refused& refused) {
    refuse(refused.error(), refused.what());
  } catch (const std::bad_alloc&) {
    refuse(ENOMEM, "no memory to put an operation into the index");
  }
  return where;
}

}  // namespace rw
