#include "fs/segment.h"

#include <errno.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

#include "fs/erased_frame.h"
#include "fs/record.h"
#include "metadata/coding.h"

namespace rw {
namespace {

constexpr std::string_view kMagic = "RWSEG\r\n\x1a";
constexpr uint32_t kSegmentFormat = 1;
constexpr std::string_view kSuffix = ".seg";
constexpr size_t kMaxOpenSegments = 256;
constexpr uint32_t kChecksumOffset = kSegmentHeaderBytes - 4;

uint32_t HeaderChecksum(std::string_view bytes) {
  return FrameChecksum(bytes.substr(0, kChecksumOffset), 0, 0);
}

}  // namespace

std::string SegmentHeader::Encode() const {
  std::string out(kMagic);
  PutFixed<uint32_t>(&out, kSegmentFormat);
  PutFixed<uint32_t>(&out, timeline);
  PutFixed<uint32_t>(&out, number);
  PutFixed<uint32_t>(&out, 0);
  PutFixed<uint64_t>(&out, generation);
  out.resize(kChecksumOffset);
  PutFixed<uint32_t>(&out, HeaderChecksum(out));
  return out;
}

std::optional<SegmentHeader> SegmentHeader::Decode(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes || !bytes.starts_with(kMagic)) return std::nullopt;
  const char* at = bytes.data();
  if (GetFixed<uint32_t>(at + kChecksumOffset) != HeaderChecksum(bytes)) return std::nullopt;
  if (GetFixed<uint32_t>(at + 8) != kSegmentFormat) return std::nullopt;
  SegmentHeader header;
  header.timeline = GetFixed<uint32_t>(at + 12);
  header.number = GetFixed<uint32_t>(at + 16);
  header.generation = GetFixed<uint64_t>(at + 24);
  return header;
}

std::string SegmentFileName(uint32_t number) {
  const std::string digits = std::to_string(number);
  return std::string(10 - digits.size(), '0') + digits + std::string(kSuffix);
}

std::optional<uint32_t> ParseSegmentFileName(const std::string& name) {
  if (name.size() != 10 + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + 10, number);
  if (error != std::errc() || end != name.data() + 10 || number == 0) return std::nullopt;
  return number;
}

static std::vector<uint32_t> ListNumbers(FileLayer* files, const std::filesystem::path& directory,
                                         bool moved) {
  std::vector<uint32_t> numbers;
  for (const std::string& name : files->List(directory)) {
    const auto number = ParseSegmentFileName(name);
    if (number && (*number >= kFirstMovedSegment) == moved) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

std::vector<uint32_t> ListSegments(FileLayer* files, const std::filesystem::path& directory) {
  return ListNumbers(files, directory, false);
}

std::vector<uint32_t> ListMovedSegments(FileLayer* files, const std::filesystem::path& directory) {
  return ListNumbers(files, directory, true);
}

bool HasZeroHeader(FileLayer* files, const std::filesystem::path& segment) {
  std::string header(kSegmentHeaderBytes, '\0');
  header.resize(files->Open(segment, FileLayer::Mode::kRead)->ReadAt(header, 0));
  return std::all_of(header.begin(), header.end(), [](char c) { return c == 0; });
}

std::filesystem::path SegmentReader::TimelineDirectory(TimelineId timeline) const {
  return root_ / std::to_string(timeline);
}

std::shared_ptr<Segment> SegmentReader::Find(TimelineId timeline, uint32_t number) {
  const Key key{timeline, number};
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = open_.find(key); found != open_.end()) {
      recent_.splice(recent_.begin(), recent_, found->second.recent);
      return found->second.segment;
    }
  }
  const auto path = TimelineDirectory(timeline) / SegmentFileName(number);
  auto segment = std::make_shared<Segment>();
  try {
    segment->file = files_->Open(path, FileLayer::Mode::kRead);
  } catch (const Refused& error) {
    if (error.error() != ENOENT) throw;
    throw SegmentGone(EIO, "missing segment " + path.string());
  }
  std::string bytes(kSegmentHeaderBytes, '\0');
  bytes.resize(segment->file->ReadAt(bytes, 0));
  const auto header = SegmentHeader::Decode(bytes);
  if (!header || header->timeline != timeline || header->number != number) {
    throw Refused(EIO, "damaged segment header: " + path.string());
  }
  segment->header = *header;
  const std::lock_guard lock(mutex_);
  if (const auto found = open_.find(key); found != open_.end()) return found->second.segment;
  recent_.push_front(key);
  open_[key] = {segment, recent_.begin()};
  while (open_.size() > kMaxOpenSegments) {
    open_.erase(recent_.back());
    recent_.pop_back();
  }
  return segment;
}

void SegmentReader::Read(const Extent& extent, uint32_t from, std::span<char> out) {
  if (out.empty()) return;
  const auto segment = Find(extent.timeline, extent.segment);
  const uint64_t stored_end = uint64_t{extent.skip} + extent.length +
                              extent.tail;  // in bytes of data, from the first frame
  const uint64_t want = extent.skip + from;
  const uint64_t want_end = want + out.size();
  const uint64_t first_frame = want / kFrameDataBytes;
  const uint64_t last_frame = (want_end - 1) / kFrameDataBytes;
  const uint64_t data_from = first_frame * kFrameDataBytes;
  const uint64_t data_to = std::min<uint64_t>((last_frame + 1) * kFrameDataBytes, stored_end);
  const uint64_t position = extent.frame_position + first_frame * kFrameBytes;

  static thread_local std::vector<char> buffer;
  buffer.resize(FramedBytes(data_to - data_from));
  const size_t got = segment->file->ReadAt(buffer, position);
  size_t at = 0;
  for (uint64_t frame = data_from; frame < data_to; frame += kFrameDataBytes) {
    const uint64_t length = std::min<uint64_t>(kFrameDataBytes, data_to - frame);
    const auto place = static_cast<uint32_t>(position + at);
    const std::string_view data(buffer.data() + at + 4, length);
    if (at + 4 + length > got || GetFixed<uint32_t>(buffer.data() + at) !=
                                     FrameChecksum(data, segment->header.generation, place)) {
      if (segment->gone) throw SegmentGone(EIO, "freed segment");
      if (at + 4 + length <= got && IsErasedFrame(GetFixed<uint32_t>(buffer.data() + at), data,
                                                  segment->header.generation, place))
        throw Refused(ENODATA, "it was forgotten, as somebody has asked for");
      throw Refused(
          EIO, "damaged data in " +
                   (TimelineDirectory(extent.timeline) / SegmentFileName(extent.segment)).string() +
                   " at byte " + std::to_string(place));
    }
    const uint64_t copy_from = std::max(frame, want);
    const uint64_t copy_to = std::min(frame + length, want_end);
    std::memcpy(out.data() + (copy_from - want), data.data() + (copy_from - frame),
                copy_to - copy_from);
    at += 4 + length;
  }
}

void SegmentReader::WillRead(TimelineId timeline, uint32_t segment, uint64_t offset,
                             uint64_t length) {
  try {
    Find(timeline, segment)->file->WillRead(offset, length);
  } catch (const Refused&) {  // whoever reads it will say so
  }
}

void SegmentReader::Forget(TimelineId timeline) {
  const std::lock_guard lock(mutex_);
  for (auto it = open_.lower_bound({timeline, 0});
       it != open_.end() && it->first.first == timeline;) {
    recent_.erase(it->second.recent);
    it = open_.erase(it);
  }
  generations_.erase(generations_.lower_bound({timeline, 0}),
                     generations_.lower_bound({timeline + 1, 0}));
}

void SegmentReader::Forget(TimelineId timeline, uint32_t segment) {
  const std::lock_guard lock(mutex_);
  generations_.erase({timeline, segment});
  const auto found = open_.find({timeline, segment});
  if (found == open_.end()) return;
  found->second.segment->gone = true;  // somebody may be reading it
  recent_.erase(found->second.recent);
  open_.erase(found);
}

std::vector<SegmentInfo> SegmentReader::List(TimelineId timeline) {
  return Inform(timeline, ListSegments(files_, TimelineDirectory(timeline)));
}

std::vector<SegmentInfo> SegmentReader::ListMoved(TimelineId timeline) {
  return Inform(timeline, ListMovedSegments(files_, TimelineDirectory(timeline)));
}

std::vector<SegmentInfo> SegmentReader::Inform(TimelineId timeline,
                                               const std::vector<uint32_t>& numbers) {
  const auto directory = TimelineDirectory(timeline);
  std::vector<SegmentInfo> segments;
  for (const uint32_t number : numbers) {
    SegmentInfo info;
    info.number = number;
    std::error_code error;
    info.bytes = std::filesystem::file_size(directory / SegmentFileName(number), error);
    if (error) continue;  // removed meanwhile
    std::unique_lock lock(mutex_);
    const auto known = generations_.find({timeline, number});
    if (known != generations_.end()) {
      info.generation = known->second;
    } else {
      lock.unlock();
      try {
        info.generation = Find(timeline, number)->header.generation;
      } catch (const Refused&) {
        continue;  // not yet begun, or damaged: whoever needs it will say so
      }
      lock.lock();
      generations_[{timeline, number}] = info.generation;
    }
    segments.push_back(info);
  }
  return segments;
}

}  // namespace rw
