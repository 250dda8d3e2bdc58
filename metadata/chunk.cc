#include "metadata/chunk.h"

#include <algorithm>
#include <cassert>

#include "metadata/coding.h"
#include "metadata/extent_reader.h"

namespace rw {
namespace {

// Stored on disk: never renumber.
enum ExtentKind : uint32_t { kKindHole = 0, kKindOwn = 1, kKindOther = 2, kKindThisRecord = 3 };
constexpr uint32_t kUnalignedFlag = 4;  // skip and tail follow

void EncodeExtent(std::string* out, const Extent& extent, TimelineId own) {
  ExtentKind kind = kKindOwn;
  if (extent.hole()) {
    kind = kKindHole;
  } else if (extent.segment == Extent::kThisRecord) {
    kind = kKindThisRecord;
  } else if (extent.timeline != own) {
    kind = kKindOther;
  }
  const bool unaligned = extent.skip != 0 || extent.tail != 0;
  PutVarint(out, (extent.offset << 3) | (unaligned ? kUnalignedFlag : 0) | kind);
  PutVarint(out, extent.length);
  if (kind == kKindHole) return;
  if (kind == kKindOther) PutVarint(out, extent.timeline);
  if (kind != kKindThisRecord) PutVarint(out, extent.segment);
  PutVarint(out, extent.frame_position);
  if (unaligned) {
    PutVarint(out, extent.skip);
    PutVarint(out, extent.tail);
  }
}

Extent DecodeExtent(Decoder* in, TimelineId own) {
  Extent extent;
  const uint32_t head = in->Number<uint32_t>();
  extent.offset = head >> 3;
  extent.length = in->Number<uint32_t>();
  if (extent.offset >= kChunkBytes || extent.length == 0 ||
      extent.length > kChunkBytes - extent.offset)
    Decoder::Fail();
  const uint32_t kind = head & 3;
  if (kind == kKindHole) return extent;
  extent.timeline = kind == kKindOther ? in->Number<TimelineId>() : own;
  extent.segment = kind == kKindThisRecord ? Extent::kThisRecord : in->Number<uint32_t>();
  if (extent.segment == Extent::kHole) Decoder::Fail();
  extent.frame_position = in->Number<uint32_t>();
  if (head & kUnalignedFlag) {
    extent.skip = in->Number<uint16_t>();
    extent.tail = in->Number<uint16_t>();
    if (extent.skip >= kFrameDataBytes || extent.tail >= kFrameDataBytes) Decoder::Fail();
  }
  return extent;
}

}  // namespace

Extent Extent::Slice(uint32_t from, uint32_t to) const {
  assert(from >= offset && to <= end() && from < to);
  Extent part = *this;
  part.offset = from;
  part.length = to - from;
  if (hole()) return part;
  const uint32_t stored_end =
      skip + length + tail;  // bytes from the first frame's start to the last frame's end
  uint32_t start = skip + (from - offset);
  uint32_t stop = skip + (to - offset);
  const uint32_t last_frame_end =
      std::min((stop + kFrameDataBytes - 1) / kFrameDataBytes * kFrameDataBytes, stored_end);
  part.tail = static_cast<uint16_t>(last_frame_end - stop);
  part.frame_position += start / kFrameDataBytes * kFrameBytes;
  part.skip = static_cast<uint16_t>(start % kFrameDataBytes);
  return part;
}

void ResolveExtents(std::vector<Extent>* extents, TimelineId own, uint32_t segment,
                    uint32_t first_frame_position) {
  for (Extent& extent : *extents) {
    if (extent.segment != Extent::kThisRecord) continue;
    extent.timeline = own;
    extent.segment = segment;
    extent.frame_position += first_frame_position;
  }
}

std::string ChunkVersion::Encode(TimelineId own) const {
  std::string out;
  PutVarint(&out, (depth << 1) | (full ? 1 : 0));
  for (const Extent& extent : extents) EncodeExtent(&out, extent, own);
  return out;
}

ChunkVersion ChunkVersion::Decode(std::string_view value, TimelineId own) {
  ExtentReader in(value, own);
  ChunkVersion version;
  version.full = in.full();
  version.depth = in.depth();
  for (Extent extent; in.Next(&extent);) version.extents.push_back(extent);
  return version;
}

bool ExtentReader::Next(Extent* extent) {
  if (in_.empty()) return false;
  *extent = DecodeExtent(&in_, own_);
  if (extent->offset < end_) Decoder::Fail();
  end_ = extent->end();
  return true;
}

void ChunkMap::Put(const Extent& extent) {
  const uint32_t from = extent.offset;
  const uint32_t to = extent.end();
  auto first = std::partition_point(extents_.begin(), extents_.end(),
                                    [&](const Extent& e) { return e.end() <= from; });
  auto last = first;
  Extent left, right;
  bool has_left = false, has_right = false;
  for (; last != extents_.end() && last->offset < to; ++last) {
    if (last->offset < from) {
      left = last->Slice(last->offset, from);
      has_left = true;
    }
    if (last->end() > to) {
      right = last->Slice(to, last->end());
      has_right = true;
    }
  }
  std::vector<Extent> replacement;
  if (has_left) replacement.push_back(left);
  if (!extent.hole()) replacement.push_back(extent);
  if (has_right) replacement.push_back(right);
  // Overwrite in place what can be, so that a rewrite of the same range moves nothing.
  const size_t removed = static_cast<size_t>(last - first);
  const size_t common = std::min(removed, replacement.size());
  std::copy_n(replacement.begin(), common, first);
  const auto at = first + static_cast<ptrdiff_t>(common);
  if (removed > common) {
    extents_.erase(at, last);
  } else {
    extents_.insert(at, replacement.begin() + static_cast<ptrdiff_t>(common), replacement.end());
  }
}

void ChunkMap::PutUnder(const Extent& extent, std::vector<Extent>* covered) {
  uint32_t from = extent.offset;
  const uint32_t to = extent.end();
  auto at = std::partition_point(covered->begin(), covered->end(),
                                 [&](const Extent& e) { return e.end() <= from; });
  while (from < to) {
    const uint32_t gap_end = at == covered->end() ? to : std::min(to, at->offset);
    if (from < gap_end) {
      at = covered->insert(at, extent.Slice(from, gap_end));
      ++at;
    }
    if (at == covered->end()) break;
    from = std::max(from, at->end());
    ++at;
  }
}

void ChunkMap::CutAt(uint64_t size) {
  while (!extents_.empty() && extents_.back().offset >= size) extents_.pop_back();
  if (!extents_.empty() && extents_.back().end() > size) {
    Extent& last = extents_.back();
    last = last.Slice(last.offset, static_cast<uint32_t>(size));
  }
}

uint64_t ChunkMap::allocated() const {
  uint64_t sum = 0;
  for (const Extent& extent : extents_) sum += extent.length;
  return sum;
}

uint32_t FullVersionInterval(size_t extent_count) {
  return static_cast<uint32_t>(std::clamp<size_t>(extent_count / 2, 32, 1024));
}

}  // namespace rw
