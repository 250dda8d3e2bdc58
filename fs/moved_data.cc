#include "fs/moved_data.h"

#include <algorithm>

#include "fs/segment.h"
#include "metadata/keys.h"
#include "metadata/refused.h"

namespace rw {

bool IsUnbegun(const StoreContext& context, TimelineId timeline, uint32_t segment) {
  const auto path = context.segments->TimelineDirectory(timeline) / SegmentFileName(segment);
  if (!HasZeroHeader(context.files, path)) return false;
  try {
    return segment > context.index->FindSettled(timeline) &&
           !context.index->Get(HeldKey(timeline, segment)).has_value();
  } catch (const Refused&) {
    return false;  // what would tell is damaged
  }
}

std::shared_ptr<Journal> MovedData::JournalOf(TimelineId timeline) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Journal>& journal = journals_[timeline];
  if (journal != nullptr) return journal;
  const auto directory = context_.segments->TimelineDirectory(timeline);
  const std::vector<uint32_t> numbers = ListMovedSegments(context_.files, directory);
  uint32_t& last = last_.try_emplace(timeline, kFirstMovedSegment - 1).first->second;
  // What is settled says so of all numbers up to it.
  last = std::max(last, context_.index->FindSettled(timeline));
  if (!numbers.empty()) last = std::max(last, numbers.back());
  journal = std::make_shared<Journal>(context_.files, directory, timeline, last);
  journal->LimitSegments(context_.max_segment_bytes);
  journal->UsePool(context_.pool);
  return journal;
}

std::vector<std::shared_ptr<Journal>> MovedData::Journals() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Journal>> journals;
  for (const auto& [timeline, journal] : journals_) journals.push_back(journal);
  return journals;
}

Journal::Appended MovedData::Append(TimelineId timeline, const ChunkVersionKey& owner,
                                    std::span<const char> data) {
  const Instant at = context_.clock->Next();
  RecordBody body;
  body.mutations.owner = owner;
  return JournalOf(timeline)->Append(RecordType::kMoved, at, 0, body.Encode(at, timeline), data);
}

void MovedData::Sync() {
  for (const auto& journal : Journals()) journal->Sync();
}

void MovedData::End() {
  std::map<TimelineId, std::shared_ptr<Journal>> journals;
  {
    const std::lock_guard lock(mutex_);
    journals = journals_;
  }
  std::exception_ptr failure;
  for (const auto& [timeline, journal] : journals) {
    try {
      journal->End();
      const std::lock_guard lock(mutex_);
      last_[timeline] = journal->end().segment;
      journals_.erase(timeline);
      // After all references that were changed, so never without them.
      context_.index->SetSettled(timeline, journal->end().segment);
    } catch (const Refused&) {
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace rw
