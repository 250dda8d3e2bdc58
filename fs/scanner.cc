#include "fs/scanner.h"

#include <errno.h>

#include <algorithm>

#include "fs/erased_frame.h"
#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {

JournalScanner::JournalScanner(FileLayer* files, std::filesystem::path directory,
                               TimelineId timeline, JournalPosition from, Instant after,
                               JournalPosition durable)
    : files_(files),
      directory_(std::move(directory)),
      timeline_(timeline),
      segments_(ListSegments(files, directory_)),
      position_(from),
      last_instant_(after),
      durable_(durable) {
  if (position_.segment == 0) {
    sealed_ = true;  // nothing before the first segment
    return;
  }
  if (!OpenSegment(position_.segment)) {
    throw Refused(EIO, "missing or damaged segment " +
                           (directory_ / SegmentFileName(position_.segment)).string());
  }
}

bool JournalScanner::OpenSegment(uint32_t number) {
  if (!std::binary_search(segments_.begin(), segments_.end(), number)) return false;
  file_ = files_->Open(directory_ / SegmentFileName(number), FileLayer::Mode::kRead);
  file_bytes_ = file_->Size();
  window_.Clear();
  const auto header = SegmentHeader::Decode(window_.Fetch(file_.get(), 0, kSegmentHeaderBytes));
  if (!header || header->timeline != timeline_ || header->number != number) {
    file_.reset();
    return false;
  }
  header_ = *header;
  return true;
}

std::optional<ScannedRecord> JournalScanner::Next() {
  for (;;) {
    if (sealed_) {
      // The next segment begins where this one was sealed, if that was got round to.
      const auto next = std::upper_bound(segments_.begin(), segments_.end(), position_.segment);
      if (next == segments_.end()) return std::nullopt;
      const JournalPosition before = position_;
      if ((before.segment != 0 && *next != before.segment + 1) || !OpenSegment(*next) ||
          header_.generation <= last_instant_.ns) {
        return std::nullopt;
      }
      position_ = {*next, kSegmentHeaderBytes};
      sealed_ = false;
    }
    auto record = ReadRecord();
    if (!record) return std::nullopt;
    position_ = record->next;
    if (record->header.type == RecordType::kSegmentEnd) {
      sealed_ = true;
      continue;
    }
    last_instant_ = record->header.instant;
    return record;
  }
}

std::optional<ScannedRecord> JournalScanner::ReadRecord() {
  const auto header = window_.RecordAt(file_.get(), position_.offset, header_.generation);
  if (!header) return std::nullopt;
  const bool end = header->type == RecordType::kSegmentEnd;
  if (end ? header->instant < last_instant_ : header->instant <= last_instant_) return std::nullopt;
  if (!DataAreSoundOrDamaged(*header)) return std::nullopt;
  ScannedRecord record;
  record.position = position_;
  record.next = {position_.segment, static_cast<uint32_t>(position_.offset + header->TotalBytes())};
  record.header = *header;
  record.body = window_.Fetch(file_.get(), position_.offset, header->frames_offset())
                    .substr(kRecordHeaderBytes);
  return record;
}

// Not torn by a crash, that is: they have reached the disk, whatever it did to them since.
bool JournalScanner::DataAreSoundOrDamaged(const RecordHeader& header) {
  if (header.data_bytes == 0) return true;
  const uint32_t first_frame = position_.offset + header.frames_offset();
  if (first_frame + FramedBytes(header.data_bytes) > file_bytes_) return false;
  if (position_ < durable_ || FramesCheck(header, first_frame)) return true;
  // A later record may say so.
  JournalScanner later(files_, directory_, timeline_, position_, last_instant_);
  return later.LaterRecordsProveDamage();
}

bool JournalScanner::FramesCheck(const RecordHeader& header, uint32_t first_frame) {
  const std::string_view frames =
      window_.Fetch(file_.get(), first_frame, FramedBytes(header.data_bytes));
  if (frames.size() < FramedBytes(header.data_bytes)) return false;
  uint32_t left = header.data_bytes;
  for (uint32_t at = 0; left > 0;) {
    const uint32_t length = std::min(left, kFrameDataBytes);
    const auto checksum = GetFixed<uint32_t>(frames.data() + at);
    const std::string_view data = frames.substr(at + 4, length);
    if (checksum != FrameChecksum(data, header_.generation, first_frame + at) &&
        !IsErasedFrame(checksum, data, header_.generation, first_frame + at))
      return false;
    at += 4 + length;
    left -= length;
  }
  return true;
}

bool JournalScanner::LaterRecordsProveDamage() {
  const JournalPosition end = position_;
  if (file_ != nullptr && end.segment == header_.number && SegmentProvesDamage(end.offset, end))
    return true;
  for (const uint32_t number : segments_) {
    if (number <= end.segment) continue;
    if (OpenSegment(number)) {
      if (SegmentProvesDamage(kSegmentHeaderBytes, end)) return true;
    } else if (!HasZeroHeader(files_, directory_ / SegmentFileName(number))) {
      return true;
    }
  }
  return false;
}

bool JournalScanner::SegmentProvesDamage(uint64_t from, JournalPosition end) {
  for (uint64_t offset = from;; offset += kRecordAlignment) {
    if (window_.Fetch(file_.get(), offset, kRecordHeaderBytes).size() < kRecordHeaderBytes)
      return false;
    const auto header = window_.RecordAt(file_.get(), offset, header_.generation);
    if (header && header->durable > end && header->instant > last_instant_) return true;
  }
}

}  // namespace rw
