#include "metadata/sweep.h"

#include <errno.h>

#include <algorithm>

#include "metadata/coding.h"
#include "metadata/refused.h"

namespace rw {
namespace {

constexpr size_t kBatchEntries = 256;
constexpr uint64_t kVersionsBetweenLooks = 128;
constexpr size_t kMaxAnswers = 256;
constexpr int kSkippedSingly = 3;  // a seek costs about as much as so many steps
constexpr size_t kTimelineOffset = 1;
constexpr size_t kInoOffset = kTimelineOffset + 4;
constexpr size_t kMinKeyBytes = kInoOffset + 8 + kInstantBytes;

}  // namespace

bool Sweep::Run() {
  // Inodes last: what belongs to one must be gone before it is.
  const bool done = Walk(KeyType::kChunk) && Walk(KeyType::kXattr) && Walk(KeyType::kName) &&
                    Walk(KeyType::kInode);
  Flush();
  return done;
}

const Sweep::Timeline* Sweep::Find(TimelineId id) const {
  const auto found = timelines_.find(id);
  return found == timelines_.end() ? nullptr : &found->second;
}

Sweep::Version Sweep::Split(std::string_view key, std::string_view value) {
  Version version{key, value, InstantOf(key), newer_, 0, 0};
  version.timeline = GetBigEndian<uint32_t>(key.data() + kTimelineOffset);
  version.ino = GetBigEndian<uint64_t>(key.data() + kInoOffset);
  newer_ = version.at;
  return version;
}

bool Sweep::GoOn() { return ++counts_.versions % kVersionsBetweenLooks != 0 || options_.go_on(); }

bool Sweep::SkipRange(Index::Cursor* cursor) {
  const std::string_view key = cursor->key();
  const Instant at = rw::InstantOf(key);
  const Timeline* timeline = Find(GetBigEndian<uint32_t>(key.data() + kTimelineOffset));
  if (timeline == nullptr || at <= timeline->kept->range_from()) return false;
  // Whatever comes next was seen by the range's first instant.
  newer_ = Instant{timeline->kept->range_from().ns + 1};
  if (++skipped_ <= kSkippedSingly) {
    cursor->Next();
  } else {
    cursor->Seek(WithInstant(prefix_, timeline->kept->range_from()));
    skipped_ = 0;
  }
  return true;
}

bool Sweep::Walk(KeyType type) {
  const std::string all(1, static_cast<char>(type));
  const auto cursor = index_->NewCursor(all, Index::Purpose::kScan);
  prefix_.clear();
  cursor->Seek(all);
  while (cursor->Valid()) {
    const std::string_view key = cursor->key();
    if (key.size() < kMinKeyBytes) throw Refused(EIO, "index: a versioned key is too short");
    if (key.substr(0, key.size() - kInstantBytes) != prefix_) {
      Finish(type);
      prefix_ = key.substr(0, key.size() - kInstantBytes);
      newer_ = kInstantMax;
      skipped_ = 0;
    }
    if (!GoOn()) return false;
    if (SkipRange(cursor.get())) continue;
    const Timeline* timeline = Find(GetBigEndian<uint32_t>(key.data() + kTimelineOffset));
    if (timeline != nullptr && !timeline->kept->FirstIn(rw::InstantOf(key), newer_)) {
      // Nobody looks between two kept instants.
      if (needed_) MakeFull();
      newer_ = rw::InstantOf(key);
      Drop(key, cursor->value().size());
      cursor->Next();
      continue;
    }
    const Version version = Split(key, cursor->value());
    type == KeyType::kChunk ? SeeChunk(timeline, version) : SeeOther(type, timeline, version);
    cursor->Next();
  }
  Finish(type);
  return true;
}

bool Sweep::AtVersionAfter(Index::Cursor* cursor, Instant at) const {
  return cursor->Valid() && cursor->key().size() == prefix_.size() + kInstantBytes &&
         cursor->key().starts_with(prefix_) && rw::InstantOf(cursor->key()) > at;
}

void Sweep::Finish(KeyType type) {
  if (type == KeyType::kChunk) FinishChunk();
  if (ending_) Drop(*ending_, 0);
  ending_.reset();
}

void Sweep::SeeChunk(const Timeline* timeline, const Version& version) {
  if (timeline == nullptr) {
    for (const Extent& extent : ChunkVersion::Decode(version.value, version.timeline).extents)
      live_->Mark(extent);
    return;
  }
  const Instant first = timeline->kept->FirstIn(version.at, version.next).value();
  uint64_t limit = UINT64_MAX;  // of the file's bytes that are not cut off
  bool needed = true;
  if (first != version.at) {
    // Whatever writes to a file writes its inode too, so the timeline knows it.
    const auto& inode = InodeAt(version.timeline, version.ino, first);
    needed = inode.has_value();
    if (needed) limit = CutLimit(inode->cuts, version.at);
  }
  const uint64_t start = SplitChunkKey(version.key).chunk * kChunkBytes;
  if (!needed || limit <= start) {
    if (needed_) MakeFull();
    Drop(version.key, version.value.size());
    return;
  }
  if (needed_) MarkNeeded();
  needed_ = Needed{std::string(version.key), ChunkVersion::Decode(version.value, version.timeline),
                   first, version.next == kInstantMax, false};
  const auto& extents = needed_->version.extents;
  needed_->clipped = !extents.empty() && start + extents.back().end() > limit;
}

// The map that a reader at the first kept instant finds, as one version.
void Sweep::MakeFull() {
  if (needed_->version.full && !needed_->clipped) return;
  const ChunkVersionKey key = SplitChunkKey(needed_->key);
  const auto& inode = InodeAt(key.timeline, key.ino, needed_->first);
  const std::vector<Cut> cuts = inode ? inode->cuts : std::vector<Cut>{};
  ChunkFold fold(key.chunk, cuts);
  // A cursor of its own, and one for all: what the walk deletes is not seen to be gone.
  if (below_ == nullptr)
    below_ = index_->NewCursor(std::string(1, static_cast<char>(KeyType::kChunk)));
  bool go_on = true;
  for (below_->Seek(needed_->key);
       go_on && below_->Valid() && AtVersionAfter(below_.get(), Instant{}); below_->Next())
    go_on =
        fold.Add(ChunkVersion::Decode(below_->value(), key.timeline), rw::InstantOf(below_->key()));
  needed_->version.full = true;
  needed_->version.depth = 0;
  needed_->version.extents = fold.Take();
  needed_->clipped = false;
  ++counts_.made_full;
  Put(needed_->key, needed_->version.Encode(key.timeline));
}

void Sweep::MarkNeeded() {
  if (needed_->clipped) MakeFull();
  for (const Extent& extent : needed_->version.extents) live_->Mark(extent);
}

void Sweep::FinishChunk() {
  if (!needed_) return;
  MarkNeeded();
  const ChunkVersionKey key = SplitChunkKey(needed_->key);
  // Nothing but a hole, which is what there is without it.
  if (needed_->newest && needed_->version.full && needed_->version.extents.empty() &&
      !MayBeInherited(*Find(key.timeline), key.ino)) {
    Drop(needed_->key, 0);
  }
  needed_.reset();
}

void Sweep::SeeOther(KeyType type, const Timeline* timeline, const Version& version) {
  if (timeline == nullptr) return;
  const Instant first = timeline->kept->FirstIn(version.at, version.next).value();
  const bool inherited = MayBeInherited(*timeline, version.ino);
  if (type == KeyType::kXattr && first != version.at && !inherited &&
      !InodeAt(version.timeline, version.ino, first)) {
    Drop(version.key, version.value.size());
  } else if (!version.value.empty()) {
    ending_.reset();
  } else if (!inherited &&
             // Else its number would be given out again.
             (type != KeyType::kInode || version.ino != LastIno(version.timeline))) {
    if (ending_) Drop(*ending_, 0);  // the older one says as much
    ending_ = std::string(version.key);
  }
}

const std::optional<Inode>& Sweep::InodeAt(TimelineId timeline, Ino ino, Instant at) {
  if (timeline != asked_timeline_ || ino != asked_ino_ || answers_.size() >= kMaxAnswers) {
    asked_timeline_ = timeline;
    asked_ino_ = ino;
    answers_.clear();
  }
  const auto [answer, asked] = answers_.try_emplace(at);
  if (asked) {
    const auto version = index_->FindVersion(InodePrefix(timeline, ino), at);
    if (version && !version->value.empty())
      answer->second = Inode::Decode(version->value, version->at);
  }
  return answer->second;
}

Ino Sweep::LastIno(TimelineId timeline) {
  const auto [found, asked] = last_inos_.try_emplace(timeline);
  if (asked) found->second = index_->LastIno(timeline);
  return found->second;
}

void Sweep::Drop(std::string_view key, size_t value_bytes) {
  ++counts_.dropped;
  counts_.dropped_bytes += key.size() + value_bytes;
  Put(std::string(key), std::nullopt);
}

void Sweep::Put(std::string key, std::optional<std::string> value) {
  if (!options_.apply) return;
  batch_.emplace_back(std::move(key), std::move(value));
  if (batch_.size() >= kBatchEntries) Flush();
}

// In the order of the walk: what stands for something is there before that goes, and what hides
// something goes after it.
void Sweep::Flush() {
  if (!batch_.empty()) index_->Rewrite(batch_);
  batch_.clear();
}

}  // namespace rw
