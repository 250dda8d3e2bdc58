#include "fs/pin_bytes.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "metadata/view.h"

namespace rw {
namespace {

// Calls `see` with each key of the timeline that exactly one kept instant sees, and with that
// instant.
void ForEachSeenOnce(
    Index* index, KeyType type, TimelineId timeline, const KeptInstants& kept,
    const std::function<void(std::string_view key, std::string_view value, Instant)>& see) {
  const std::string prefix = TypePrefix(type, timeline);
  const auto cursor = index->NewCursor(prefix, Index::Purpose::kScan);
  std::string key_prefix;
  Instant next = kInstantMax;
  for (cursor->Seek(prefix); cursor->Valid(); cursor->Next()) {
    const std::string_view key = cursor->key();
    if (key.substr(0, key.size() - kInstantBytes) != key_prefix) {
      key_prefix = key.substr(0, key.size() - kInstantBytes);
      next = kInstantMax;
    }
    const Instant at = InstantOf(key);
    const auto first = kept.FirstIn(at, next);
    if (first && !kept.FirstIn(Instant{first->ns + 1}, next)) see(key, cursor->value(), *first);
    next = at;
  }
}

class Contents {
 public:
  Contents(Index* index, TimelineId timeline, const KeptInstants& kept)
      : index_(index), timeline_(timeline), kept_(kept) {}

  uint64_t BytesOnlyAt(const ChunkVersionKey& key, Instant at) const {
    std::set<std::pair<uint32_t, uint32_t>> elsewhere;  // frames
    for (const auto& other : {kept_.Previous(at), kept_.Next(Instant{at.ns + 1})}) {
      if (other) ForEachFrame(key, *other, [&](auto frame, uint32_t) { elsewhere.insert(frame); });
    }
    uint64_t bytes = 0;
    ForEachFrame(key, at, [&](auto frame, uint32_t length) {
      if (!elsewhere.contains(frame)) bytes += length;
    });
    return bytes;
  }

 private:
  // Of what the chunk is made of at `at`: the place of each frame, and how much of it shows.
  template <typename Fn>
  void ForEachFrame(const ChunkVersionKey& key, Instant at, Fn fn) const {
    const View view(index_, {{timeline_, at, 0}});
    const auto inode = view.FindInode(key.ino);
    if (!inode) return;
    const ChunkMap map = view.FindChunk(key.ino, key.chunk, inode->cuts);
    for (const Extent& extent : map.extents()) {
      for (uint32_t done = 0; done < extent.length;) {
        const uint32_t in_frame = (extent.skip + done) % kFrameDataBytes;
        const uint32_t length = std::min(kFrameDataBytes - in_frame, extent.length - done);
        const uint32_t frame = (extent.skip + done) / kFrameDataBytes;
        fn(std::pair{extent.segment, extent.frame_position + frame * kFrameBytes}, length);
        done += length;
      }
    }
  }

  Index* index_;
  TimelineId timeline_;
  const KeptInstants& kept_;
};

}  // namespace

void AddBytesHeldAlone(Index* index, TimelineId timeline, const KeptInstants& kept,
                       const std::set<Instant>& pinned, std::map<Instant, uint64_t>* bytes) {
  const auto is_pin = [&](Instant at) { return at < kept.range_from() && pinned.contains(at); };
  for (const KeyType type : {KeyType::kInode, KeyType::kName, KeyType::kXattr}) {
    ForEachSeenOnce(index, type, timeline, kept,
                    [&](std::string_view key, std::string_view value, Instant at) {
                      if (is_pin(at)) (*bytes)[at] += key.size() + value.size();
                    });
  }
  const Contents contents(index, timeline, kept);
  ForEachSeenOnce(index, KeyType::kChunk, timeline, kept,
                  [&](std::string_view key, std::string_view value, Instant at) {
                    if (!is_pin(at)) return;
                    (*bytes)[at] += key.size() + value.size();
                    (*bytes)[at] += contents.BytesOnlyAt(SplitChunkKey(key), at);
                  });
}

}  // namespace rw
