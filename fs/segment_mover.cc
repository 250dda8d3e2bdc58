#include "fs/segment_mover.h"

#include <errno.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "metadata/extent_reader.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kMaxFramesOfRecord = 256;
constexpr uint64_t kVersionsBetweenLooks = 64;
// Changed at once: few enough that a commit that has to wait for it does not wait long.
constexpr size_t kBatchVersions = 64;
constexpr size_t kBatchBytes = 64 << 10;

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
                           const std::set<MoveWatch::SegmentKey>& victims, FindHome find_home,
                           OpenVolumes open_volumes)
    : context_(context),
      moved_data_(moved_data),
      find_home_(std::move(find_home)),
      open_volumes_(std::move(open_volumes)) {
  for (const MoveWatch::SegmentKey& key : victims) victims_.emplace_back().key = key;
  context_.moves->Begin(victims);
  // Who was in the middle of a commit may not have seen it; everybody after that has.
  WaitForOperations();
}

SegmentMover::~SegmentMover() { context_.moves->End(); }

void SegmentMover::WaitForOperations() {
  for (const auto& volume : open_volumes_()) volume->WaitForOperations();
}

std::set<MoveWatch::SegmentKey> SegmentMover::damaged() const {
  std::set<MoveWatch::SegmentKey> damaged;
  for (const Victim& victim : victims_) {
    if (victim.damaged) damaged.insert(victim.key);
  }
  return damaged;
}

SegmentMover::Victim* SegmentMover::FindVictim(const Extent& extent) {
  const auto found = std::lower_bound(
      victims_.begin(), victims_.end(), SegmentOf(extent),
      [](const Victim& victim, const MoveWatch::SegmentKey& key) { return victim.key < key; });
  return found != victims_.end() && found->key == SegmentOf(extent) ? &*found : nullptr;
}

SegmentMover::Victim* SegmentMover::FindSoundVictim(const Extent& extent) {
  Victim* victim = FindVictim(extent);
  return victim != nullptr && !victim->damaged ? victim : nullptr;
}

bool SegmentMover::RefersToVictim(std::string_view version, TimelineId own) {
  ExtentReader reader(version, own);
  for (Extent extent; reader.Next(&extent);) {
    if (FindVictim(extent) != nullptr) return true;
  }
  return false;
}

bool SegmentMover::Run(const std::function<bool()>& go_on,
                       const std::function<void(uint64_t)>& copied) {
  const bool complete = MoveAll(go_on, copied);
  Flush();  // also of a run that ends early: else it was copied in vain
  return complete;
}

bool SegmentMover::MoveAll(const std::function<bool()>& go_on,
                           const std::function<void(uint64_t)>& copied) {
  const std::string all(1, static_cast<char>(KeyType::kChunk));
  const auto cursor = context_.index->NewCursor(all, Index::Purpose::kScan);
  uint64_t looked_at = 0;
  for (cursor->Seek(all); cursor->Valid(); cursor->Next()) {
    if (++looked_at % kVersionsBetweenLooks == 0 && !go_on()) return false;
    const MoveWatch::ChunkKey key = SplitChunkKey(cursor->key());
    if (!RefersToVictim(cursor->value(), key.timeline)) continue;
    if (!go_on()) return false;
    copied(MoveChunk(key, ChunkVersion::Decode(cursor->value(), key.timeline)));
  }
  // What was written meanwhile from what was known before. Once a chunk's newest version is moved
  // and the heads have forgotten where it was, no more can come of it.
  for (;;) {
    Flush();
    WaitForOperations();
    const std::vector<MoveWatch::ChunkKey> seen = context_.moves->Take();
    if (seen.empty()) return true;
    brought_back_.clear();  // a restore may be among what was written
    for (const MoveWatch::ChunkKey& key : seen) {
      if (!go_on()) return false;
      const auto value =
          context_.index->Get(WithInstant(ChunkPrefix(key.timeline, key.ino, key.chunk), key.at));
      if (!value || !RefersToVictim(*value, key.timeline)) continue;
      copied(MoveChunk(key, ChunkVersion::Decode(*value, key.timeline)));
    }
  }
}

uint32_t SegmentMover::Frame::position() const { return FramePosition(extent, number); }

uint32_t SegmentMover::Frame::bytes() const {
  return std::min(kFrameDataBytes, StoredBytes(extent) - number * kFrameDataBytes);
}

// Whether the range's first instant may not see what the version refers to: then it may not see
// where that is moved to, either. Those that were known when the run began are not moved at all.
// What is noted of a version is committed with it, so what was asked once holds for all that the
// walk comes across, and for all of one round of those that were written meanwhile.
bool SegmentMover::IsBroughtBack(const MoveWatch::ChunkKey& key, const ChunkVersion& version) {
  return std::any_of(version.extents.begin(), version.extents.end(), [&](const Extent& extent) {
    if (FindVictim(extent) == nullptr) return false;
    const auto [known, asked] = brought_back_.try_emplace({key.timeline, SegmentOf(extent)});
    if (asked) {
      const std::string prefix =
          BroughtBackPrefix({key.timeline, extent.timeline, extent.segment, key.at});
      known->second = context_.index->FindVersion(prefix, kInstantMax).has_value();
    }
    return known->second;
  });
}

std::vector<SegmentMover::Frame> SegmentMover::FramesToCopy(const ChunkVersion& version) {
  std::vector<Frame> frames;
  for (const Extent& extent : version.extents) {
    Victim* victim = FindSoundVictim(extent);
    if (victim == nullptr) continue;
    for (uint32_t number = 0; number < FrameCount(extent); ++number) {
      // Its place is put there once it has one.
      if (victim->moved.try_emplace(FramePosition(extent, number)).second)
        frames.push_back({extent, number, victim});
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
    if (const Victim* victim = FindSoundVictim(extent)) {
      Redirect(extent, *victim, &redirected);
    } else {
      redirected.push_back(extent);
    }
  }
  version.extents = std::move(redirected);
  Put(key, version, brought_back);
  moved_bytes_ += copied;
  return copied;
}

void SegmentMover::Put(const MoveWatch::ChunkKey& key, const ChunkVersion& version,
                       bool brought_back) {
  for (const Extent& extent : version.extents) {
    if (written_.contains(SegmentOf(extent)) && held_.insert(SegmentOf(extent)).second)
      batch_.emplace_back(HeldKey(extent.timeline, extent.segment), EncodeHeldUntil(kInstantMax));
    if (brought_back && !extent.hole())
      batch_.emplace_back(BroughtBackKey({key.timeline, extent.timeline, extent.segment, key.at}),
                          "");
  }
  batch_.emplace_back(WithInstant(ChunkPrefix(key.timeline, key.ino, key.chunk), key.at),
                      version.Encode(key.timeline));
  batch_bytes_ += batch_.back().first.size() + batch_.back().second->size();
  const std::pair chunk(key.ino, key.chunk);
  if (batch_chunks_.empty() || batch_chunks_.back() != chunk) batch_chunks_.push_back(chunk);
  if (batch_.size() >= kBatchVersions || batch_bytes_ >= kBatchBytes) Flush();
}

// Until here nobody knows the new places, so to what goes on meanwhile it is as if the batch's
// copies were made now. All of it is in the index, or nothing, and what says that the new segments
// are held is there with the first that refers to them. Only then do heads forget the old places:
// whoever looks before finds these, which are still there, and whoever writes from what it has
// found is noted.
void SegmentMover::Flush() {
  if (batch_.empty()) return;
  // Before anybody finds them there: a head may write the new places down in its journal, and have
  // that synced, at once. Soon they are the only copies, too.
  moved_data_->Sync();
  context_.index->Rewrite(batch_);
  for (const auto& volume : open_volumes_()) {
    for (const auto& [ino, chunk] : batch_chunks_) volume->ForgetChunk(ino, chunk);
  }
  batch_.clear();
  batch_bytes_ = 0;
  batch_chunks_.clear();
}

// One record of whole frames, whatever part of them is shown.
void SegmentMover::CopyFrames(const MoveWatch::ChunkKey& key, std::span<const Frame> frames) {
  std::vector<char> data;
  std::vector<Frame> sound;
  for (size_t from = 0; from < frames.size();) {
    size_t to = from + 1;
    while (to < frames.size() && frames[to].victim == frames[from].victim &&
           frames[to].position() == frames[to - 1].position() + kFrameBytes) {
      ++to;
    }
    ReadFrames(frames.subspan(from, to - from), &data, &sound);
    from = to;
  }
  if (sound.empty()) return;
  const TimelineId home = find_home_(frames.front().extent.timeline);
  const Journal::Appended where = moved_data_->Append(home, key, data);
  written_.insert({home, where.record.segment});
  for (size_t i = 0; i < sound.size(); ++i) {
    sound[i].victim->moved[sound[i].position()] = {
        home, where.record.segment, where.first_frame + static_cast<uint32_t>(i) * kFrameBytes};
  }
}

// Frames that lie one behind the other, of which only the last may be short: in one go, or one by
// one if not all of them are sound.
void SegmentMover::ReadFrames(std::span<const Frame> frames, std::vector<char>* data,
                              std::vector<Frame>* sound) {
  Extent whole = frames.front().extent;
  whole.skip = whole.tail = 0;
  whole.offset = 0;
  whole.frame_position = frames.front().position();
  whole.length = static_cast<uint32_t>(frames.size() - 1) * kFrameDataBytes + frames.back().bytes();
  const size_t before = data->size();
  data->resize(before + whole.length);
  try {
    context_.segments->Read(whole, 0, std::span(*data).subspan(before));
    sound->insert(sound->end(), frames.begin(), frames.end());
    return;
  } catch (const Refused& refused) {
    if (refused.error() != EIO && refused.error() != ENODATA) throw;
    data->resize(before);
    // What was forgotten needs no other place, and goes with the versions that name it.
    if (refused.error() == EIO && frames.size() == 1)
      spdlog::error("timeline {}: segment {} stays, since it is damaged: {}", whole.timeline,
                    whole.segment, refused.what());
  }
  if (frames.size() == 1) {
    frames.front().victim->damaged = true;
    return;
  }
  for (size_t i = 0; i < frames.size(); ++i) ReadFrames(frames.subspan(i, 1), data, sound);
}

// The extent as extents of where its frames are now.
void SegmentMover::Redirect(const Extent& extent, const Victim& victim,
                            std::vector<Extent>* out) const {
  const uint32_t count = FrameCount(extent);
  for (uint32_t frame = 0; frame < count;) {
    const Place& place = victim.moved.at(FramePosition(extent, frame));
    uint32_t end = frame + 1;
    for (; end < count; ++end) {
      const Place& next = victim.moved.at(FramePosition(extent, end));
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
