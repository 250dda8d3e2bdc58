// Extents, chunk maps and chunk versions against a plain array that says for every byte where it is
// stored.
#include "metadata/chunk.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "metadata/refused.h"

namespace rw {
namespace {

// Where a byte is stored: in which segment, at which byte of its data (frame checksums not
// counted).
using Place = std::pair<uint32_t, uint64_t>;
using Bytes = std::vector<Place>;

Place PlaceOf(const Extent& extent, uint32_t offset) {
  const uint64_t first = uint64_t{extent.frame_position} / kFrameBytes * kFrameDataBytes;
  return {extent.segment, first + extent.skip + (offset - extent.offset)};
}

void PutInto(Bytes* bytes, const Extent& extent) {
  for (uint32_t at = extent.offset; at < extent.end(); ++at) {
    (*bytes)[at] = extent.hole() ? Place{} : PlaceOf(extent, at);
  }
}

Bytes BytesOf(const std::vector<Extent>& extents) {
  Bytes bytes(kChunkBytes);
  for (const Extent& extent : extents) PutInto(&bytes, extent);
  return bytes;
}

// A stored extent, or now and then a hole; positions are multiples of a frame, so that PlaceOf is
// simple.
Extent RandomExtent(std::mt19937_64* random) {
  Extent extent;
  extent.offset = static_cast<uint32_t>((*random)() % kChunkBytes);
  extent.length = static_cast<uint32_t>(
      1 + (*random)() % std::min<uint64_t>(20000, kChunkBytes - extent.offset));
  if ((*random)() % 5 == 0) return extent;
  extent.timeline = 1 + static_cast<uint32_t>((*random)() % 3);
  extent.segment = 1 + static_cast<uint32_t>((*random)() % 1000);
  extent.frame_position = static_cast<uint32_t>((*random)() % 1000) * kFrameBytes;
  extent.skip = static_cast<uint16_t>((*random)() % kFrameDataBytes);
  const uint32_t end = extent.skip + extent.length;
  const uint32_t left_in_frame = (kFrameDataBytes - end % kFrameDataBytes) % kFrameDataBytes;
  extent.tail = static_cast<uint16_t>(left_in_frame == 0 ? 0 : (*random)() % (left_in_frame + 1));
  return extent;
}

TEST(ExtentTest, SliceKeepsEachByteWhereItIsAndTheLastFrameWhole) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const Extent extent = RandomExtent(&random);
    const auto from = static_cast<uint32_t>(extent.offset + random() % extent.length);
    const auto to = static_cast<uint32_t>(from + 1 + random() % (extent.end() - from));
    const Extent part = extent.Slice(from, to);
    ASSERT_EQ(part.offset, from);
    ASSERT_EQ(part.end(), to);
    if (extent.hole()) continue;
    ASSERT_EQ(PlaceOf(part, from), PlaceOf(extent, from));
    ASSERT_LT(part.skip, kFrameDataBytes);
    // The part's last frame ends where that frame ends in the whole: at a frame's full size or at
    // the record's end.
    const uint64_t whole_end = PlaceOf(extent, extent.offset).second + extent.length + extent.tail;
    const uint64_t frame_end = PlaceOf(part, from).second + part.length + part.tail;
    ASSERT_TRUE(frame_end % kFrameDataBytes == 0 || frame_end == whole_end);
    ASSERT_LT(part.tail, kFrameDataBytes);
  }
}

TEST(ChunkMapTest, PutsAndCutsAgreeWithAnArrayOfBytes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    ChunkMap map;
    Bytes bytes(kChunkBytes);
    for (int step = 0; step < 100; ++step) {
      if (random() % 20 == 0) {
        const uint64_t size = random() % kChunkBytes;
        map.CutAt(size);
        std::fill(bytes.begin() + static_cast<ptrdiff_t>(size), bytes.end(), Place{});
      } else {
        const Extent extent = RandomExtent(&random);
        map.Put(extent);
        PutInto(&bytes, extent);
      }
      ASSERT_EQ(BytesOf(map.extents()), bytes) << "step " << step;
      const auto stored =
          std::count_if(bytes.begin(), bytes.end(), [](const Place& p) { return p.first != 0; });
      ASSERT_EQ(map.allocated(), static_cast<uint64_t>(stored));
      for (size_t i = 1; i < map.extents().size(); ++i)
        ASSERT_LE(map.extents()[i - 1].end(), map.extents()[i].offset);
    }
  }
}

TEST(ChunkMapTest, ReadingVersionsFromTheNewestGivesWhatWritingThemInOrderGives) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    std::vector<Extent> written;
    for (int i = 0; i < 40; ++i) written.push_back(RandomExtent(&random));
    Bytes bytes(kChunkBytes);
    for (const Extent& extent : written) PutInto(&bytes, extent);
    std::vector<Extent> covered;
    for (auto it = written.rbegin(); it != written.rend(); ++it) ChunkMap::PutUnder(*it, &covered);
    ASSERT_EQ(BytesOf(covered), bytes);
  }
}

TEST(ChunkVersionTest, DecodesWhatItEncodes) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 500; ++i) {
    ChunkMap map;
    for (uint64_t n = random() % 30; n > 0; --n) map.Put(RandomExtent(&random));
    ChunkVersion version;
    version.full = random() % 2 == 0;
    version.depth = version.full ? 0 : static_cast<uint32_t>(random() % 100);
    version.extents = map.extents();
    if (!version.extents.empty()) version.extents.front().segment = Extent::kThisRecord;
    const TimelineId own = 2;
    if (!version.extents.empty()) version.extents.front().timeline = own;
    const ChunkVersion decoded = ChunkVersion::Decode(version.Encode(own), own);
    ASSERT_EQ(decoded.full, version.full);
    ASSERT_EQ(decoded.depth, version.depth);
    ASSERT_EQ(decoded.extents, version.extents);
  }
}

TEST(ChunkVersionTest, DamagedBytesAreRefusedAndNeverCrash) {
  std::mt19937_64 random(9);
  ChunkMap map;
  for (int n = 0; n < 20; ++n) map.Put(RandomExtent(&random));
  ChunkVersion version;
  version.extents = map.extents();
  const std::string good = version.Encode(1);
  for (int i = 0; i < 5000; ++i) {
    std::string bad = good.substr(0, random() % (good.size() + 1));
    if (!bad.empty()) bad[random() % bad.size()] = static_cast<char>(random());
    try {
      const ChunkVersion decoded = ChunkVersion::Decode(bad, 1);
      uint32_t end = 0;
      for (const Extent& extent : decoded.extents) {
        ASSERT_GE(extent.offset, end);
        ASSERT_LE(extent.end(), kChunkBytes);
        end = extent.end();
      }
    } catch (const Refused& refused) {
      ASSERT_EQ(refused.error(), EIO);
    }
  }
}

}  // namespace
}  // namespace rw
