#include "fs/record.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "metadata/coding.h"
#include "metadata/find_writer.h"

namespace rw {
namespace {

// XXH3 64 (https://github.com/Cyan4973/xxHash), its low half, seeded with the place.
uint32_t Checksum(std::string_view bytes, uint64_t generation, uint32_t position) {
  const uint64_t seed = generation ^ (static_cast<uint64_t>(position) * 0x9E3779B97F4A7C15ULL);
  return static_cast<uint32_t>(XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed));
}

}  // namespace

uint64_t FramedBytes(uint64_t data_bytes) {
  return data_bytes +
         (data_bytes + kFrameDataBytes - 1) / kFrameDataBytes * (kFrameBytes - kFrameDataBytes);
}

uint64_t RecordHeader::TotalBytes() const {
  const uint64_t bytes = uint64_t{kRecordHeaderBytes} + body_bytes + FramedBytes(data_bytes);
  return (bytes + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
}

std::string EncodeRecordHeader(const RecordHeader& header, std::string_view body,
                               uint32_t position) {
  std::string out(4, '\0');  // the checksum's place
  out.push_back(static_cast<char>(kRecordVersion));
  out.push_back(static_cast<char>(header.type));
  PutFixed<uint16_t>(&out, 0);  // flags
  PutFixed<uint32_t>(&out, header.body_bytes);
  PutFixed<uint32_t>(&out, header.data_bytes);
  PutFixed<uint64_t>(&out, header.instant.ns);
  PutFixed<uint64_t>(&out, header.generation);
  PutFixed<uint32_t>(&out, header.durable.segment);
  PutFixed<uint32_t>(&out, header.durable.offset);
  PutFixed<uint64_t>(&out, header.unique);
  out.append(body);
  const uint32_t checksum = Checksum(std::string_view(out).substr(4), header.generation, position);
  out.replace(0, 4, reinterpret_cast<const char*>(&checksum), 4);
  return out;
}

std::optional<RecordHeader> DecodeRecordHeader(std::string_view bytes, uint64_t generation) {
  if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
  const char* at = bytes.data();
  if (static_cast<uint8_t>(at[4]) != kRecordVersion || GetFixed<uint16_t>(at + 6) != 0)
    return std::nullopt;
  RecordHeader header;
  header.type = static_cast<RecordType>(at[5]);
  header.body_bytes = GetFixed<uint32_t>(at + 8);
  header.data_bytes = GetFixed<uint32_t>(at + 12);
  header.instant.ns = GetFixed<uint64_t>(at + 16);
  header.generation = GetFixed<uint64_t>(at + 24);
  header.durable.segment = GetFixed<uint32_t>(at + 32);
  header.durable.offset = GetFixed<uint32_t>(at + 36);
  header.unique = GetFixed<uint64_t>(at + 40);
  if (header.generation != generation) return std::nullopt;
  return header;
}

bool RecordChecks(std::string_view bytes, uint64_t generation, uint32_t position) {
  return bytes.size() >= kRecordHeaderBytes &&
         GetFixed<uint32_t>(bytes.data()) == Checksum(bytes.substr(4), generation, position);
}

uint32_t FrameChecksum(std::string_view data, uint64_t generation, uint32_t position) {
  return Checksum(data, ~generation, position);
}

std::string RecordBody::Encode(Instant at, TimelineId own) const {
  std::string out;
  PutVarint(&out, uid);
  PutVarint(&out, pid);
  PutVarint(&out, totals.bytes);
  PutVarint(&out, totals.inodes);
  PutVarint(&out, offset);
  PutVarint(&out, length);
  mutations.Encode(&out, at, own);
  return out;
}

void RecordBody::DecodeNumbers(Decoder* in) {
  uid = in->Number<uint32_t>();
  pid = in->Number<uint32_t>();
  totals.bytes = in->Varint();
  totals.inodes = in->Varint();
  offset = in->Varint();
  length = in->Varint();
}

std::shared_ptr<const Writer> RecordBody::FindWriter(std::string_view bytes, Instant at,
                                                     TimelineId own) {
  Decoder in(bytes);
  RecordBody body;
  body.DecodeNumbers(&in);
  return rw::FindWriter(in.rest(), at, own);
}

RecordBody RecordBody::Decode(std::string_view bytes, Instant at, TimelineId own) {
  Decoder in(bytes);
  RecordBody body;
  body.DecodeNumbers(&in);
  body.mutations = Mutations::Decode(in.rest(), at, own);
  return body;
}

}  // namespace rw
