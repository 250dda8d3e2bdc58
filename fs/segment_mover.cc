#include "fs/segment_mover.h"

#include <errno.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kMaxFramesOfRecord = 256;

MoveWatch::SegmentKey SegmentOf(const Extent& extent) { return {extent.timeline, extent.segment}; }

uint32_t StoredBytes(const Extent& extent) { return extent.skip + extent.length + extent.tail; }
uint32_t FrameCount(const Extent& extent) {
  return (StoredBytes(extent) + kFrameDataBytes - 1) / kFrameDataBytes;
}
uint32_t FramePosition(const Extent& extent, uint32_t frame) {
  return extent.frame_position + frame * kFrameBytes;
}

}  // namespace

SegmentMover::SegmentMover(const StoreContext& context, MovedData* moved_data,
                           std::set<MoveWatch::SegmentKey> victims, FindHome find_home,
                           OpenVolumes open_volumes)
    : context_(context),
      moved_data_(moved_data),
      victims_(std::move(victims)),
      find_home_(std::move(find_home)),
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
    if (seen.empty()) break;
    for (const MoveWatch::ChunkKey& key : seen) {
      if (!go_on()) return false;
      const auto value =
          context_.index->Get(WithInstant(ChunkPrefix(key.timeline, key.ino, key.chunk), key.at));
      if (!value) continue;
      ChunkVersion version = ChunkVersion::Decode(*value, key.timeline);
      if (RefersToVictim(version)) copied(MoveChunk(key, std::move(version)));
    }
  }
  moved_data_->Sync();  // the only copies soon
  return true;
}

uint32_t SegmentMover::Frame::bytes() const {
  return std::min(kFrameDataBytes, StoredBytes(extent) - number * kFrameDataBytes);
}

// Whether the range's first instant may not see what the version refers to: then it may not see
// where that is moved to, either. Those that were known when the run began are not moved at all.
bool SegmentMover::IsBroughtBack(const MoveWatch::ChunkKey& key,
                                 const ChunkVersion& version) const {
  return std::any_of(version.extents.begin(), version.extents.end(), [&](const Extent& extent) {
    if (!victims_.contains(SegmentOf(extent))) return false;
    const std::string prefix =
        BroughtBackPrefix({key.timeline, extent.timeline, extent.segment, key.at});
    return context_.index->FindVersion(prefix, kInstantMax).has_value();
  });
}

std::vector<SegmentMover::Frame> SegmentMover::FramesToCopy(const ChunkVersion& version) const {
  std::vector<Frame> frames;
  std::set<FrameKey> seen;
  for (const Extent& extent : version.extents) {
    if (!victims_.contains(SegmentOf(extent)) || damaged_.contains(SegmentOf(extent))) continue;
    for (uint32_t number = 0; number < FrameCount(extent); ++number) {
      const FrameKey key{SegmentOf(extent), FramePosition(extent, number)};
      if (!moved_.contains(key) && seen.insert(key).second) frames.push_back({extent, number});
    }
  }
  return frames;
}

uint64_t SegmentMover::MoveChunk(const MoveWatch::ChunkKey& key, ChunkVersion version) {
  const std::vector<Frame> frames = FramesToCopy(version);
  uint64_t copied = 0;
  // As few records as can be: one timeline's journal each, and only the last frame may be short.
  for (size_t from = 0; from < frames.size();) {
    size_t to = from + 1;
    while (to < frames.size() && to - from < kMaxFramesOfRecord &&
           frames[to - 1].bytes() == kFrameDataBytes &&
           frames[to].extent.timeline == frames[from].extent.timeline) {
      ++to;
    }
    CopyFrames(key, std::span(frames).subspan(from, to - from));
    copied += (to - from) * kFrameBytes;
    from = to;
  }
  const bool brought_back = IsBroughtBack(key, version);
  std::vector<Extent> redirected;
  for (const Extent& extent : version.extents) {
    if (!victims_.contains(SegmentOf(extent)) || damaged_.contains(SegmentOf(extent))) {
      redirected.push_back(extent);
    } else {
      Redirect(extent, &redirected);
    }
  }
  version.extents = std::move(redirected);
  Index::Entries entries;
  for (const Extent& extent : version.extents) {
    if (written_.contains(SegmentOf(extent)) && held_.insert(SegmentOf(extent)).second)
      entries.emplace_back(HeldKey(extent.timeline, extent.segment), EncodeHeldUntil(kInstantMax));
    if (brought_back && !extent.hole())
      entries.emplace_back(BroughtBackKey({key.timeline, extent.timeline, extent.segment, key.at}),
                           "");
  }
  entries.emplace_back(WithInstant(ChunkPrefix(key.timeline, key.ino, key.chunk), key.at),
                       version.Encode(key.timeline));
  context_.index->Rewrite(entries);
  for (const auto& volume : open_volumes_()) volume->ForgetChunk(key.ino, key.chunk);
  moved_bytes_ += copied;
  return copied;
}

// One record of whole frames, whatever part of them is shown.
void SegmentMover::CopyFrames(const MoveWatch::ChunkKey& key, std::span<const Frame> frames) {
  std::vector<char> data;
  std::vector<Frame> sound;
  for (const Frame& frame : frames) {
    Extent whole = frame.extent;
    whole.skip = whole.tail = 0;
    whole.offset = 0;
    whole.length = frame.bytes();
    whole.frame_position = FramePosition(frame.extent, frame.number);
    const size_t before = data.size();
    data.resize(before + whole.length);
    try {
      context_.segments->Read(whole, 0, std::span(data).subspan(before));
    } catch (const Refused& refused) {
      if (refused.error() != EIO && refused.error() != ENODATA) throw;
      // What was forgotten needs no other place, and goes with the versions that name it.
      if (refused.error() == EIO)
        spdlog::error("timeline {}: segment {} stays, since it is damaged: {}", whole.timeline,
                      whole.segment, refused.what());
      damaged_.insert(SegmentOf(whole));
      data.resize(before);
      continue;
    }
    sound.push_back(frame);
  }
  if (sound.empty()) return;
  const TimelineId home = find_home_(frames.front().extent.timeline);
  const Journal::Appended where = moved_data_->Append(home, key, data);
  written_.insert({home, where.record.segment});
  for (size_t i = 0; i < sound.size(); ++i) {
    const Extent& extent = sound[i].extent;
    moved_[{SegmentOf(extent), FramePosition(extent, sound[i].number)}] = {
        home, where.record.segment, where.first_frame + static_cast<uint32_t>(i) * kFrameBytes};
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
      if (next.timeline != place.timeline || next.segment != place.segment ||
          next.position != place.position + (end - frame) * kFrameBytes) {
        break;
      }
    }
    const uint32_t begin_byte = std::max<uint32_t>(frame * kFrameDataBytes, extent.skip);
    const uint32_t end_byte =
        std::min<uint32_t>(end * kFrameDataBytes, extent.skip + extent.length);
    Extent part = extent.Slice(extent.offset + begin_byte - extent.skip,
                               extent.offset + end_byte - extent.skip);
    part.timeline = place.timeline;
    part.segment = place.segment;
    part.frame_position = place.position;
    out->push_back(part);
    frame = end;
  }
}

}  // namespace rw
