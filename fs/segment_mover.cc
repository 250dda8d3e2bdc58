#include "fs/segment_mover.h"

#include <errno.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "metadata/refused.h"

namespace rw {
namespace {

MoveWatch::SegmentKey SegmentOf(const Extent& extent) { return {extent.timeline, extent.segment}; }

uint32_t StoredBytes(const Extent& extent) { return extent.skip + extent.length + extent.tail; }
uint32_t FrameCount(const Extent& extent) {
  return (StoredBytes(extent) + kFrameDataBytes - 1) / kFrameDataBytes;
}
uint32_t FramePosition(const Extent& extent, uint32_t frame) {
  return extent.frame_position + frame * kFrameBytes;
}

}  // namespace

SegmentMover::SegmentMover(const StoreContext& context, std::set<MoveWatch::SegmentKey> victims,
                           OpenTimeline open_timeline, OpenVolumes open_volumes)
    : context_(context),
      victims_(std::move(victims)),
      open_timeline_(std::move(open_timeline)),
      open_volumes_(std::move(open_volumes)) {
  context_.moves->Begin(victims_);
  // Who was in the middle of a commit may not have seen it; everybody after that has.
  WaitForOperations();
}

SegmentMover::~SegmentMover() { context_.moves->End(); }

void SegmentMover::WaitForOperations() {
  for (const auto& volume : open_volumes_()) volume->WaitForOperations();
}

bool SegmentMover::RefersToVictim(const ChunkVersion& version) const {
  return std::any_of(version.extents.begin(), version.extents.end(),
                     [this](const Extent& extent) { return victims_.contains(SegmentOf(extent)); });
}

bool SegmentMover::Run(const std::function<bool()>& go_on,
                       const std::function<void(uint64_t)>& copied) {
  const std::string all(1, static_cast<char>(KeyType::kChunk));
  const auto cursor = context_.index->NewCursor(all, Index::Purpose::kScan);
  for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
    if (!go_on()) return false;
    const MoveWatch::ChunkKey key = SplitChunkKey(cursor->key());
    ChunkVersion version = ChunkVersion::Decode(cursor->value(), key.timeline);
    if (RefersToVictim(version)) copied(MoveChunk(key, std::move(version)));
  }
  // What was written meanwhile from what was known before. Once a chunk's newest version is moved
  // and the heads have forgotten where it was, no more can come of it.
  for (;;) {
    WaitForOperations();
    const std::vector<MoveWatch::ChunkKey> seen = context_.moves->Take();
    if (seen.empty()) return true;
    for (const MoveWatch::ChunkKey& key : seen) {
      if (!go_on()) return false;
      const auto value =
          context_.index->Get(WithInstant(ChunkPrefix(key.timeline, key.ino, key.chunk), key.at));
      if (!value) continue;
      ChunkVersion version = ChunkVersion::Decode(*value, key.timeline);
      if (RefersToVictim(version)) copied(MoveChunk(key, std::move(version)));
    }
  }
}

uint64_t SegmentMover::MoveChunk(const MoveWatch::ChunkKey& key, ChunkVersion version) {
  uint64_t copied = 0;
  std::vector<Extent> redirected;
  for (const Extent& extent : version.extents) {
    if (!victims_.contains(SegmentOf(extent)) || damaged_.contains(SegmentOf(extent))) {
      redirected.push_back(extent);
      continue;
    }
    try {
      copied += CopyFrames(key, extent);
    } catch (const Refused& refused) {
      if (refused.error() != EIO) throw;
      spdlog::error("timeline {}: segment {} stays, since it is damaged: {}", extent.timeline,
                    extent.segment, refused.what());
      damaged_.insert(SegmentOf(extent));
      redirected.push_back(extent);
      continue;
    }
    Redirect(extent, &redirected);
  }
  version.extents = std::move(redirected);
  context_.index->Rewrite({{WithInstant(ChunkPrefix(key.timeline, key.ino, key.chunk), key.at),
                            version.Encode(key.timeline)}});
  for (const auto& volume : open_volumes_()) volume->ForgetChunk(key.ino, key.chunk);
  moved_bytes_ += copied;
  return copied;
}

uint64_t SegmentMover::CopyFrames(const MoveWatch::ChunkKey& key, const Extent& extent) {
  uint64_t copied = 0;
  const uint32_t count = FrameCount(extent);
  const auto is_moved = [&](uint32_t frame) {
    return moved_.contains({SegmentOf(extent), FramePosition(extent, frame)});
  };
  for (uint32_t frame = 0; frame < count;) {
    if (is_moved(frame)) {
      ++frame;
      continue;
    }
    uint32_t end = frame + 1;
    while (end < count && !is_moved(end)) ++end;
    CopyRun(key, extent, frame, end);
    copied += uint64_t{end - frame} * kFrameBytes;
    frame = end;
  }
  return copied;
}

// Frames [from, to) of the extent, whole, whatever part of them it shows.
void SegmentMover::CopyRun(const MoveWatch::ChunkKey& key, const Extent& extent, uint32_t from,
                           uint32_t to) {
  Extent frames = extent;
  frames.offset = 0;
  frames.skip = frames.tail = 0;
  frames.frame_position = FramePosition(extent, from);
  frames.length = std::min(to * kFrameDataBytes, StoredBytes(extent)) - from * kFrameDataBytes;
  std::vector<char> data(frames.length);
  context_.segments->Read(frames, 0, data);

  Extent moved = frames;
  moved.segment = Extent::kThisRecord;
  moved.frame_position = 0;
  OwnerMutation owner{key.timeline, key.ino, key.chunk, key.at, {}};
  owner.version.extents.push_back(moved);
  const Journal::Appended where = HeadOf(extent.timeline).Move(owner, data);
  for (uint32_t frame = from; frame < to; ++frame) {
    moved_[{SegmentOf(extent), FramePosition(extent, frame)}] = {
        where.record.segment, where.first_frame + (frame - from) * kFrameBytes};
  }
}

// The extent as extents of where its frames are now.
void SegmentMover::Redirect(const Extent& extent, std::vector<Extent>* out) const {
  const uint32_t count = FrameCount(extent);
  const auto place_of = [&](uint32_t frame) {
    return moved_.at({SegmentOf(extent), FramePosition(extent, frame)});
  };
  for (uint32_t frame = 0; frame < count;) {
    const Place place = place_of(frame);
    uint32_t end = frame + 1;
    for (; end < count; ++end) {
      const Place next = place_of(end);
      if (next.segment != place.segment ||
          next.position != place.position + (end - frame) * kFrameBytes) {
        break;
      }
    }
    const uint32_t begin_byte = std::max<uint32_t>(frame * kFrameDataBytes, extent.skip);
    const uint32_t end_byte =
        std::min<uint32_t>(end * kFrameDataBytes, extent.skip + extent.length);
    Extent part = extent.Slice(extent.offset + begin_byte - extent.skip,
                               extent.offset + end_byte - extent.skip);
    part.segment = place.segment;
    part.frame_position = place.position;
    out->push_back(part);
    frame = end;
  }
}

ViewVolume& SegmentMover::HeadOf(TimelineId timeline) {
  auto& head = heads_[timeline];
  if (head == nullptr) head = open_timeline_(timeline);
  return *head;
}

}  // namespace rw
