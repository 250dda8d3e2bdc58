#include "fs/check_journal.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "fs/catalog_store.h"
#include "fs/erased_frame.h"
#include "fs/flipped_bit.h"
#include "fs/moved_data.h"
#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr uint64_t kPacedBytes = 1 << 20;
// Beyond this, looking for a flipped bit takes too long.
constexpr size_t kMaxRepairedRecord = 8 << 10;

uint32_t RecordChecksum(std::string_view bytes, uint64_t generation, uint32_t position) {
  return FrameChecksum(bytes, ~generation, position);
}

}  // namespace

bool JournalCheck::Run() {
  const auto directory = context_->store.segments->TimelineDirectory(timeline_.id);
  FileLayer* files = context_->store.files;
  std::vector<uint32_t> numbers = ListSegments(files, directory);
  std::erase_if(numbers, [this](uint32_t number) { return number > timeline_.end.segment; });
  const std::vector<uint32_t> moved = ListMovedSegments(files, directory);
  numbers.insert(numbers.end(), moved.begin(), moved.end());
  for (const uint32_t number : numbers) {
    try {
      if (!CheckSegment(number)) return false;
    } catch (const Refused& refused) {
      if (!std::filesystem::exists(directory / SegmentFileName(number)))
        continue;  // freed meanwhile
      AddHurt(HurtKind::kSegment, number, 0, refused.what(), false);
    }
  }
  try {
    CheckNoneIsMissing();
  } catch (const Refused& refused) {
    context_->AddUnreadable(timeline_, "where its operations lie", refused);
  }
  return true;
}

// The index has a sample in each segment. Those of a segment that is collected go before it.
void JournalCheck::CheckNoneIsMissing() {
  if (timeline_.id == kControlTimeline) return;  // its segments go without that
  Index* index = context_->store.index;
  const auto directory = context_->store.segments->TimelineDirectory(timeline_.id);
  const std::string prefix = SamplePrefix(timeline_.id);
  const auto cursor = index->NewCursor(prefix, Index::Purpose::kScan);
  uint32_t last = 0;
  for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) {
    const Sample sample = DecodeSample(cursor->value(), InstantOf(cursor->key()));
    const uint32_t number = sample.position.segment;
    if (number == 0 || number == std::exchange(last, number) ||
        std::filesystem::exists(directory / SegmentFileName(number)))
      continue;
    const auto still = index->Get(cursor->key());
    if (still && DecodeSample(*still, sample.at).position.segment == number)
      AddHurt(HurtKind::kSegment, number, 0, "missing segment", false);
  }
}

bool JournalCheck::CheckSegment(uint32_t number) {
  const auto path =
      context_->store.segments->TimelineDirectory(timeline_.id) / SegmentFileName(number);
  const auto file = context_->store.files->Open(path, FileLayer::Mode::kRead);
  segment_ = number;
  window_.Clear();
  ++context_->report->segments;
  const bool moved = number >= kFirstMovedSegment;
  // Just begun, or that is where a crash found it.
  if (moved && IsUnbegun(context_->store, timeline_.id, number)) return true;
  SegmentHeader header;
  if (!CheckHeader(number, file.get(), &header)) return true;
  const uint64_t end = number == timeline_.end.segment ? timeline_.end.offset : file->Size();
  std::vector<Area>& areas = areas_[number];
  uint64_t offset = kSegmentHeaderBytes;
  for (uint64_t paced = 0; offset < end;) {
    const auto record = RecordAt(file.get(), offset, header.generation);
    if (!record) {
      const uint64_t next = NextRecord(file.get(), offset, end, header.generation);
      // A run is writing it, or was when the machine died: what is referred to will be looked at.
      if (moved && next >= end) break;
      AddHurt(HurtKind::kRecord, number, offset,
              "damaged record" +
                  (next < end ? ", the next sound one begins at byte " + std::to_string(next)
                              : std::string(", no sound one follows")),
              false);
      offset = next;
      continue;
    }
    ++context_->report->records;
    const auto first_frame = static_cast<uint32_t>(offset + record->frames_offset());
    if (record->data_bytes > 0) {
      const bool sound = CheckFrames(file.get(), *record, first_frame);
      areas.push_back({first_frame, record->data_bytes, sound});
    }
    offset += record->TotalBytes();
    if (record->type == RecordType::kSegmentEnd) break;
    if (offset - paced > kPacedBytes) {
      if (!context_->Pace(offset - paced)) return false;
      paced = offset;
    }
  }
  return context_->Pace(0);
}

bool JournalCheck::CheckHeader(uint32_t number, File* file, SegmentHeader* header) {
  const auto decoded = SegmentHeader::Decode(window_.Fetch(file, 0, kSegmentHeaderBytes));
  if (decoded && decoded->timeline == timeline_.id && decoded->number == number) {
    *header = *decoded;
    return true;
  }
  if (decoded) {
    // Nothing of it is damaged, it is in the wrong place. Given another header, its data would be
    // taken for those that belong here: checksums do not say whose they are.
    AddHurt(HurtKind::kSegment, number, 0,
            "segment " + std::to_string(decoded->number) + " of timeline " +
                std::to_string(decoded->timeline) + " is in the place of another",
            false);
    return false;
  }
  // Its name says which segment it is, and each record says of which use of it. The first ones may
  // be damaged, too.
  *header = {timeline_.id, number, 0};
  bool known = false;
  for (uint64_t offset = kSegmentHeaderBytes; !known; offset += kRecordAlignment) {
    const std::string_view bytes = window_.Fetch(file, offset, kRecordHeaderBytes);
    if (bytes.size() < kRecordHeaderBytes) break;
    header->generation = GetFixed<uint64_t>(bytes.data() + 24);
    const auto record = offset == kSegmentHeaderBytes
                            ? RecordAt(file, offset, header->generation)
                            : window_.RecordAt(file, offset, header->generation);
    known = record && record->instant.ns >= header->generation;
  }
  bool repaired = false;
  if (known && context_->options.repair) {
    const std::string bytes = header->Encode();
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    const auto writable = context_->store.files->Open(
        context_->store.segments->TimelineDirectory(timeline_.id) / SegmentFileName(number),
        FileLayer::Mode::kReadWrite);
    writable->WriteAt({&part, 1}, 0);
    writable->SyncData();
    repaired = true;
  }
  AddHurt(HurtKind::kSegment, number, 0, "damaged segment header", repaired);
  return known;
}

std::optional<RecordHeader> JournalCheck::RecordAt(File* file, uint64_t offset,
                                                   uint64_t generation) {
  if (const auto sound = window_.RecordAt(file, offset, generation)) return sound;
  const auto header =
      DecodeRecordHeader(window_.Fetch(file, offset, kRecordHeaderBytes), generation);
  if (!header || header->TotalBytes() > kMaxSegmentBytes) return std::nullopt;
  const std::string bytes(window_.Fetch(file, offset, header->frames_offset()));
  if (!context_->options.repair || !RepairRecord(segment_, offset, bytes, generation))
    return std::nullopt;
  window_.Clear();
  return DecodeRecordHeader(window_.Fetch(file, offset, kRecordHeaderBytes), generation);
}

bool JournalCheck::CheckFrames(File* file, const RecordHeader& header, uint32_t first_frame) {
  bool sound = true;
  for (uint32_t done = 0, position = first_frame; done < header.data_bytes;) {
    const uint32_t length = std::min(kFrameDataBytes, header.data_bytes - done);
    const std::string_view framed = window_.Fetch(file, position, 4 + length);
    const bool there = framed.size() == 4 + length;
    const uint32_t checksum = there ? GetFixed<uint32_t>(framed.data()) : 0;
    if (!there || (checksum != FrameChecksum(framed.substr(4), header.generation, position) &&
                   !IsErasedFrame(checksum, framed.substr(4), header.generation, position))) {
      const std::string copy(framed);
      const bool repaired = there && context_->options.repair &&
                            RepairFrame(segment_, position, copy, header.generation);
      if (repaired) window_.Clear();
      sound = sound && repaired;
      // Whom it hurts, the index tells.
      if (repaired) AddHurt(HurtKind::kData, segment_, position, "a flipped bit in data", true);
    }
    done += length;
    position += 4 + length;
  }
  return sound;
}

uint64_t JournalCheck::NextRecord(File* file, uint64_t offset, uint64_t end, uint64_t generation) {
  for (offset += kRecordAlignment; offset < end; offset += kRecordAlignment) {
    if (window_.Fetch(file, offset, kRecordHeaderBytes).size() < kRecordHeaderBytes) return end;
    if (window_.RecordAt(file, offset, generation)) return offset;
  }
  return end;
}

void JournalCheck::AddHurt(HurtKind kind, uint32_t segment, uint64_t position,
                           const std::string& what, bool repaired) {
  Hurt hurt;
  hurt.kind = kind;
  hurt.volumes = timeline_.volumes;
  hurt.repaired = repaired;
  hurt.what = what + ": " +
              (context_->store.segments->TimelineDirectory(timeline_.id) / SegmentFileName(segment))
                  .string() +
              " at byte " + std::to_string(position);
  context_->Add(std::move(hurt));
}

bool JournalCheck::RepairFrame(uint32_t segment, uint32_t position, std::string_view framed,
                               uint64_t generation) {
  const auto bit = FindFlippedBit(
      GetFixed<uint32_t>(framed.data()), framed.substr(4),
      [&](std::string_view data) { return FrameChecksum(data, generation, position); });
  if (!bit) return false;
  auto byte = static_cast<char>(framed[*bit / 8] ^ (1 << *bit % 8));
  const iovec part{&byte, 1};
  const auto file = context_->store.files->Open(
      context_->store.segments->TimelineDirectory(timeline_.id) / SegmentFileName(segment),
      FileLayer::Mode::kReadWrite);
  file->WriteAt({&part, 1}, position + *bit / 8);
  file->SyncData();
  return true;
}

bool JournalCheck::RepairRecord(uint32_t segment, uint64_t offset, std::string_view bytes,
                                uint64_t generation) {
  if (bytes.size() > kMaxRepairedRecord || bytes.size() < kRecordHeaderBytes) return false;
  const auto place = static_cast<uint32_t>(offset);
  const auto bit = FindFlippedBit(
      GetFixed<uint32_t>(bytes.data()), bytes.substr(4),
      [&](std::string_view data) { return RecordChecksum(data, generation, place); });
  if (!bit) return false;
  auto byte = static_cast<char>(bytes[*bit / 8] ^ (1 << *bit % 8));
  const iovec part{&byte, 1};
  const auto file = context_->store.files->Open(
      context_->store.segments->TimelineDirectory(timeline_.id) / SegmentFileName(segment),
      FileLayer::Mode::kReadWrite);
  file->WriteAt({&part, 1}, offset + *bit / 8);
  file->SyncData();
  AddHurt(HurtKind::kRecord, segment, offset, "a flipped bit in a record", true);
  return true;
}

bool JournalCheck::KnowsSound(const Extent& extent) const {
  const auto segment = areas_.find(extent.segment);
  if (segment == areas_.end()) return false;
  const auto& areas = segment->second;
  auto area =
      std::upper_bound(areas.begin(), areas.end(), extent.frame_position,
                       [](uint32_t position, const Area& a) { return position < a.first_frame; });
  if (area == areas.begin()) return false;
  --area;
  const uint32_t from = extent.frame_position - area->first_frame;
  if (!area->sound || from % kFrameBytes != 0) return false;
  const uint64_t stored = uint64_t{extent.skip} + extent.length + extent.tail;
  return from / kFrameBytes * kFrameDataBytes + stored <= area->data_bytes;
}

}  // namespace rw
