// Goal: every key and value of the index is decoded or refused, and what was decoded is encoded and
// decoded again as the same. Method: the first byte says what the bytes are.
#include "fs/segment.h"
#include "metadata/catalog.h"
#include "metadata/chunk.h"
#include "metadata/index.h"
#include "metadata/inode.h"
#include "metadata/keys.h"
#include "tests/fuzz/fuzz.h"

namespace rw::fuzz {
namespace {

constexpr Instant kAt{1'795'368'660'123'456'789};
constexpr TimelineId kOwn = 7;

// For values whose encoding says everything about them.
template <typename Decode>
void RoundTrip(const Decode& decode, std::string_view bytes) {
  const std::string encoded = decode(bytes);
  Expect(decode(encoded) == encoded, "what is decoded is encoded as the same");
}

void RunChunk(std::string_view bytes) {
  const ChunkVersion version = ChunkVersion::Decode(bytes, kOwn);
  for (const Extent& extent : version.extents) {
    Expect(extent.length > 0 && extent.offset < kChunkBytes &&
               extent.length <= kChunkBytes - extent.offset,
           "extents lie in their chunk");
  }
  std::vector<Extent> covered;
  ChunkMap map;
  for (const Extent& extent : version.extents) {
    map.Put(extent);
    ChunkMap::PutUnder(extent, &covered);
  }
  uint32_t end = 0;
  for (const Extent& extent : map.extents()) {
    Expect(extent.offset >= end, "a map is sorted, and nothing lies on anything");
    end = extent.end();
  }
}

void Run(Script script) {
  const uint64_t kind = script.Number(1) % 10;
  const std::string_view bytes = script.rest();
  switch (kind) {
    case 0:
      RoundTrip([](std::string_view in) { return Inode::Decode(in, kAt).Encode(kAt); }, bytes);
      break;
    case 1:
      RoundTrip([](std::string_view in) { return ChunkVersion::Decode(in, kOwn).Encode(kOwn); },
                bytes);
      RunChunk(bytes);
      break;
    case 2:
      RoundTrip([](std::string_view in) { return VolumeRecord::Decode(in).Encode(); }, bytes);
      break;
    case 3:
      RoundTrip([](std::string_view in) { return Mark::Decode(in).Encode(); }, bytes);
      break;
    case 4:
      RoundTrip([](std::string_view in) { return TimelineRecord::Decode(in).Encode(); }, bytes);
      break;
    case 5:
      RoundTrip([](std::string_view in) { return EncodeSample(DecodeSample(in, kAt)); }, bytes);
      break;
    case 6:
      DecodeNameValue(bytes);
      break;
    case 7: {
      const ChunkVersionKey key = SplitChunkKey(bytes);
      const std::string again = WithInstant(ChunkPrefix(key.timeline, key.ino, key.chunk), key.at);
      Expect(again.substr(1) == bytes.substr(1), "a key is made of its parts");
      break;
    }
    case 8:
      if (const auto header = SegmentHeader::Decode(bytes))
        Expect(header->Encode() == bytes.substr(0, kSegmentHeaderBytes), "a header is its fields");
      break;
    default:
      RoundTrip(
          [](std::string_view in) {
            std::string out;
            Mutations::Decode(in, kAt, kOwn).Encode(&out, kAt, kOwn);
            return out;
          },
          bytes);
  }
}

}  // namespace
}  // namespace rw::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rw::fuzz::AllowRefusal([&] { rw::fuzz::Run(rw::fuzz::Script(rw::fuzz::View(data, size))); });
  return 0;
}
