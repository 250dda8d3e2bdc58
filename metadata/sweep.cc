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
  const bool done = WalkChunks() && WalkOthers(KeyType::kXattr) && WalkOthers(KeyType::kName) &&
                    WalkOthers(KeyType::kInode);
  Flush();
  return done;
}

const Sweep::Timeline* Sweep::Find(TimelineId id) const {
  const auto found = timelines_.find(id);
  return found == timelines_.end() ? nullptr : &found->second;
}

Sweep::Version Sweep::Split(std::string_view key, std::string_view value) {
  if (key.size() < kMinKeyBytes) throw Refused(EIO, "index: a versioned key is too short");
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

bool Sweep::WalkChunks() {
  const std::string all(1, static_cast<char>(KeyType::kChunk));
  const auto cursor = index_->NewCursor(all, Index::Purpose::kScan);
  prefix_.clear();
  cursor->Seek(all);
  while (cursor->Valid()) {
    const std::string_view key = cursor->key();
    if (key.substr(0, key.size() - kInstantBytes) != prefix_) {
      FinishChunk();
      prefix_ = key.substr(0, key.size() - kInstantBytes);
      newer_ = kInstantMax;
      skipped_ = 0;
    }
    if (!GoOn()) return false;
    if (SkipRange(cursor.get())) continue;
    SeeChunk(Split(key, cursor->value()));
    cursor->Next();
  }
  FinishChunk();
  return true;
}

void Sweep::SeeChunk(const Version& version) {
  const Timeline* timeline = Find(version.timeline);
  if (timeline == nullptr) {
    for (const Extent& extent : ChunkVersion::Decode(version.value, version.timeline).extents)
      live_->Mark(extent);
    return;
  }
  const auto first = timeline->kept->FirstIn(version.at, version.next);
  uint64_t limit = UINT64_MAX;  // of the file's bytes that are not cut off
  bool needed = first.has_value();
  if (needed && *first != version.at) {
    // Whatever writes to a file writes its inode too, so the timeline knows it.
    const auto& inode = InodeAt(version.timeline, version.ino, *first);
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
                   *first, version.next == kInstantMax, false};
  const auto& extents = needed_->version.extents;
  needed_->clipped = !extents.empty() && start + extents.back().end() > limit;
}

// The map that a reader at the first kept instant finds, as one version.
void Sweep::MakeFull() {
  if (needed_->version.full && !needed_->clipped) return;
  const ChunkVersionKey key = SplitChunkKey(needed_->key);
  const auto& inode = InodeAt(key.timeline, key.ino, needed_->first);
  const View view(index_, {{key.timeline, key.at, 0}});
  const ChunkMap map = view.FindChunk(key.ino, key.chunk, inode ? inode->cuts : std::vector<Cut>{});
  needed_->version.full = true;
  needed_->version.depth = 0;
  needed_->version.extents = map.extents();
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

bool Sweep::IsNeeded(const Timeline& timeline, const Version& version, KeyType type) {
  const auto first = timeline.kept->FirstIn(version.at, version.next);
  if (!first) return false;
  if (type != KeyType::kXattr || *first == version.at) return true;
  return InodeAt(version.timeline, version.ino, *first).has_value() ||
         MayBeInherited(timeline, version.ino);
}

bool Sweep::WalkOthers(KeyType type) {
  const std::string all(1, static_cast<char>(type));
  const auto cursor = index_->NewCursor(all, Index::Purpose::kScan);
  prefix_.clear();
  // That a key ended need not be known once nothing is left of what it was before.
  std::optional<std::string> ending;
  const auto finish = [&] {
    if (ending) Drop(*ending, 0);
    ending.reset();
  };
  cursor->Seek(all);
  for (; cursor->Valid(); cursor->Next()) {
    while (cursor->Valid()) {
      const std::string_view key = cursor->key();
      if (key.substr(0, key.size() - kInstantBytes) != prefix_) {
        finish();
        prefix_ = key.substr(0, key.size() - kInstantBytes);
        newer_ = kInstantMax;
        skipped_ = 0;
      }
      if (!GoOn()) return false;
      if (!SkipRange(cursor.get())) break;
    }
    if (!cursor->Valid()) break;
    const std::string_view key = cursor->key();
    const Version version = Split(key, cursor->value());
    const Timeline* timeline = Find(version.timeline);
    if (timeline == nullptr) continue;
    if (!IsNeeded(*timeline, version, type)) {
      Drop(key, version.value.size());
    } else if (!version.value.empty()) {
      ending.reset();
    } else if (!MayBeInherited(*timeline, version.ino) &&
               // Else its number would be given out again.
               (type != KeyType::kInode || version.ino != LastIno(version.timeline))) {
      if (ending) Drop(*ending, 0);  // the older one says as much
      ending = std::string(key);
    }
  }
  finish();
  return true;
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
  // In the order of the walk, so that nothing goes before what stands for it is there.
  if (batch_.size() >= kBatchEntries) Flush();
}

void Sweep::Flush() {
  if (batch_.empty()) return;
  index_->Rewrite(batch_);
  batch_.clear();
}

}  // namespace rw
