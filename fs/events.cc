#include "fs/events.h"

#include <errno.h>

#include <algorithm>

#include "metadata/refused.h"

namespace rw {
namespace {

// What was written without a sync for longer is not remembered one by one.
constexpr size_t kMaxUnsynced = 1 << 16;

}  // namespace

bool JournalEvents::Read(Instant from, Instant until, const EventCallback& callback,
                         const std::function<void(const std::shared_ptr<const Writer>&)>& writer) {
  writer_ = &writer;
  from_ = from;
  until_ = until;
  callback_ = &callback;
  last_ = Before(from);
  missing_ = Missing::kNothing;
  unsynced_.clear();
  const JournalPosition start = FindStart(segments_->List(timeline_));
  Outcome outcome = Outcome::kGoOn;
  uint32_t expected = start.segment;
  for (const uint32_t number : ListSegments(files_, segments_->TimelineDirectory(timeline_))) {
    if (number < start.segment || number > end_.segment || outcome != Outcome::kGoOn) continue;
    if (number != expected) Miss(expected);
    outcome = ReadSegment(number, number == start.segment ? start.offset : kSegmentHeaderBytes);
    expected = number + 1;
  }
  if (outcome == Outcome::kGoOn && expected <= end_.segment && expected != 0) Miss(expected);
  CloseHole(Instant{until.ns + (until == kInstantMax ? 0 : 1)});
  file_.reset();
  return outcome != Outcome::kEnded;
}

// Of the record at or before `from_`, or a little earlier.
JournalPosition JournalEvents::FindStart(const std::vector<SegmentInfo>& segments) {
  JournalPosition start{0, kSegmentHeaderBytes};
  for (const SegmentInfo& segment : segments) {
    if (start.segment != 0 && segment.generation > from_.ns) break;
    start.segment = segment.number;
  }
  if (*writer_) return start;  // who they are is said somewhere from the segment's first byte on
  const auto sample = index_->FindSample(timeline_, from_);
  if (sample && sample->position.segment == start.segment && start.segment != 0)
    start.offset = sample->position.offset;
  return start;
}

JournalEvents::Outcome JournalEvents::ReadSegment(uint32_t number, uint32_t offset) {
  if (!IsThere(number)) {
    Miss(number);
    return Outcome::kGoOn;
  }
  const uint64_t end = number == end_.segment ? end_.offset : file_->Size();
  for (uint64_t at = offset; at < end;) {
    const auto header = window_.RecordAt(file_.get(), at, generation_);
    if (!header) {
      const auto file = std::move(file_);  // IsThere opens it again
      const uint64_t generation = generation_;
      const bool there = IsThere(number) && generation_ == generation;
      Miss(number);
      if (!there) return Outcome::kGoOn;
      at = NextRecord(at, end);
      continue;
    }
    if (header->type == RecordType::kSegmentEnd) break;
    if (header->instant > until_) return Outcome::kReached;
    if (header->instant >= from_) {
      const std::string_view body =
          window_.Fetch(file_.get(), at, header->frames_offset()).substr(kRecordHeaderBytes);
      if (const Outcome outcome = Deliver(*header, body); outcome != Outcome::kGoOn) return outcome;
    }
    if (header->instant < from_) SeeEarlier(*header, at);
    at += header->TotalBytes();
    unsynced_.emplace_back(JournalPosition{number, static_cast<uint32_t>(at)}, header->instant);
    if (unsynced_.size() > kMaxUnsynced) unsynced_.pop_front();
  }
  return Outcome::kGoOn;
}

// What is to be known of those that are not asked for.
void JournalEvents::SeeEarlier(const RecordHeader& header, uint64_t offset) {
  TakeSynced(header.durable);
  if (!*writer_) return;
  const auto body =
      window_.Fetch(file_.get(), offset, header.frames_offset()).substr(kRecordHeaderBytes);
  if (const auto writer = RecordBody::FindWriter(body, header.instant, timeline_))
    (*writer_)(writer);
}

JournalEvents::Outcome JournalEvents::Deliver(const RecordHeader& header, std::string_view body) {
  CloseHole(header.instant);
  last_ = header.instant;
  if (header.type == RecordType::kMoved) return Outcome::kGoOn;  // of the first stores
  Event event;
  event.at = header.instant;
  event.timeline = timeline_;
  event.type = header.type;
  event.unique = header.unique;
  event.data_bytes = header.data_bytes;
  event.synced = TakeSynced(header.durable);
  event.body = RecordBody::Decode(body, header.instant, timeline_);
  return (*callback_)(event) ? Outcome::kGoOn : Outcome::kEnded;
}

std::optional<Instant> JournalEvents::TakeSynced(JournalPosition durable) {
  std::optional<Instant> synced;
  for (; !unsynced_.empty() && unsynced_.front().first <= durable; unsynced_.pop_front())
    synced = unsynced_.front().second;
  return synced;
}

uint64_t JournalEvents::NextRecord(uint64_t offset, uint64_t end) {
  do offset += kRecordAlignment;
  while (offset < end && !window_.RecordAt(file_.get(), offset, generation_));
  return offset;
}

// Opens it; false if it was freed or its header is damaged.
bool JournalEvents::IsThere(uint32_t number) {
  window_.Clear();
  try {
    file_ = files_->Open(segments_->TimelineDirectory(timeline_) / SegmentFileName(number),
                         FileLayer::Mode::kRead);
  } catch (const Refused& refused) {
    if (refused.error() != ENOENT) throw;
    return false;
  }
  const auto header = SegmentHeader::Decode(window_.Fetch(file_.get(), 0, kSegmentHeaderBytes));
  if (!header || header->timeline != timeline_ || header->number != number) return false;
  generation_ = header->generation;
  return true;
}

// What the segment holds from here on cannot be read. Freed segments hold nothing that is kept, so
// the kept history begins later.
void JournalEvents::Miss(uint32_t number) {
  const bool there =
      std::filesystem::exists(segments_->TimelineDirectory(timeline_) / SegmentFileName(number));
  if (missing_ == Missing::kNothing) missing_after_ = last_;
  if (!there) {
    missing_ = Missing::kGone;
  } else if (missing_ == Missing::kNothing) {
    missing_ = Missing::kDamaged;
  }
}

void JournalEvents::CloseHole(Instant before) {
  if (missing_ == Missing::kGone) read_->begins = std::max(read_->begins, before);
  if (missing_ == Missing::kDamaged) read_->holes.push_back({missing_after_, before});
  missing_ = Missing::kNothing;
}

}  // namespace rw
