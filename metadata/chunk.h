// Where the bytes of a file lie: extents, gathered by chunks of 128 KiB (metadata/FORMAT.md,
// "Chunk").
//
// A chunk's history is a run of versions. Most versions say only what one operation changed; at
// intervals one is *full* and says where every byte is, so that a reader at any instant walks a
// bounded number of versions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metadata/catalog.h"
#include "metadata/inode.h"

namespace rw {

inline constexpr uint64_t kChunkBytes = 128 * 1024;

// Stored data are a run of frames: a 4-byte checksum, then 4096 bytes (fewer in the last frame of a
// record).
inline constexpr uint32_t kFrameDataBytes = 4096;
inline constexpr uint32_t kFrameBytes = kFrameDataBytes + 4;

// `length` bytes at `offset` of a chunk. Stored, or a hole (segment 0).
struct Extent {
  uint32_t offset = 0;
  uint32_t length = 0;
  TimelineId timeline = 0;  // whose journal
  uint32_t segment = 0;     // kHole, kThisRecord, or a segment's number
  uint32_t frame_position =
      0;  // of the first frame, in the segment (of kThisRecord: from the record's first frame)
  uint16_t skip = 0;  // bytes of the first frame before the extent
  uint16_t tail = 0;  // bytes of the last frame after the extent

  static constexpr uint32_t kHole = 0;
  static constexpr uint32_t kThisRecord =
      UINT32_MAX;  // in a record: the data that the record itself carries

  uint32_t end() const { return offset + length; }
  bool hole() const { return segment == kHole; }
  // The part [from, to) of the chunk that this extent covers; from and to must lie within it.
  Extent Slice(uint32_t from, uint32_t to) const;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// Turns extents that mean "the data of this record" into where those data are.
void ResolveExtents(std::vector<Extent>* extents, TimelineId own, uint32_t segment,
                    uint32_t first_frame_position);

// One version of a chunk.
struct ChunkVersion {
  bool full = false;
  uint32_t depth =
      0;  // how many versions a reader must walk below this one to find a full one; 0 when full
  std::vector<Extent> extents;

  std::string Encode(TimelineId own) const;
  static ChunkVersion Decode(std::string_view value, TimelineId own);  // throws Refused(EIO)
};

// Where every byte of a chunk is: sorted, disjoint, without holes. Not thread-safe.
class ChunkMap {
 public:
  // Replaces what was at the extent's range; a hole leaves nothing there.
  void Put(const Extent& extent);
  // Puts the extent only where nothing is yet and no hole was put: for reading versions from the
  // newest to older ones. `covered` collects what is decided already, holes included.
  static void PutUnder(const Extent& extent, std::vector<Extent>* covered);
  // Drops what lies at or beyond `size` bytes from the chunk's start.
  void CutAt(uint64_t size);

  const std::vector<Extent>& extents() const { return extents_; }
  uint64_t allocated() const;
  void Resolve(TimelineId timeline, uint32_t segment, uint32_t first_frame_position) {
    ResolveExtents(&extents_, timeline, segment, first_frame_position);
  }
  void Assign(std::vector<Extent> sorted) { extents_ = std::move(sorted); }

  uint32_t depth = 0;  // of the newest version in the head's timeline
  bool own = false;    // the head's timeline has a version of this chunk

 private:
  std::vector<Extent> extents_;
};

// After how many partial versions the next one is full. Grows with the number of extents, so that
// the cost per write stays bounded for chunks of many small pieces.
uint32_t FullVersionInterval(size_t extent_count);

}  // namespace rw
