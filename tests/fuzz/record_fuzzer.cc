// Goal: no bytes of a record are taken for what they are not, and none makes its reader fall.
// Method: the bytes as they are, and as a record of this version, generation and checksum; header
// and body that are understood are encoded and read again.
#include <cstring>

#include "fs/record.h"
#include "tests/fuzz/fuzz.h"

namespace rw::fuzz {
namespace {

constexpr uint64_t kGeneration = 1'795'368'660'000'000'000;
constexpr TimelineId kOwn = 3;
constexpr uint32_t kPosition = 64;

void RunBody(std::string_view bytes, Instant at) {
  const std::string encoded = RecordBody::Decode(bytes, at, kOwn).Encode(at, kOwn);
  RecordBody again = RecordBody::Decode(encoded, at, kOwn);
  Expect(again.Encode(at, kOwn) == encoded, "a body is encoded as it is decoded");
  again.mutations.Resolve(kOwn, 1, kPosition);
}

// What a fuzzer would hardly find: the bytes as a record of this version and generation.
std::string MadeRight(std::string_view bytes) {
  std::string right(bytes);
  right.resize(std::max<size_t>(right.size(), kRecordHeaderBytes), '\0');
  const uint64_t generation = kGeneration;
  right[4] = kRecordVersion;
  right[6] = right[7] = 0;
  std::memcpy(right.data() + 24, &generation, sizeof(generation));
  return right;
}

void Run(std::string_view given) {
  DecodeRecordHeader(given, kGeneration);
  AllowRefusal([&] { RunBody(given, Instant{kGeneration + 1}); });
  const std::string right = MadeRight(given);
  const std::string_view bytes = right;
  const auto header = DecodeRecordHeader(bytes, kGeneration);
  Expect(header.has_value(), "version, flags and generation are right");
  Expect(header->TotalBytes() % kRecordAlignment == 0, "records are aligned");
  Expect(header->TotalBytes() >=
             kRecordHeaderBytes + uint64_t{header->body_bytes} + FramedBytes(header->data_bytes),
         "a record holds its parts");
  if (bytes.size() < kRecordHeaderBytes + uint64_t{header->body_bytes}) return;
  const std::string_view body = bytes.substr(kRecordHeaderBytes, header->body_bytes);
  RecordChecks(bytes.substr(0, header->frames_offset()), kGeneration, kPosition);
  const std::string encoded = EncodeRecordHeader(*header, body, kPosition);
  Expect(RecordChecks(encoded, kGeneration, kPosition), "what is encoded checks out");
  Expect(!RecordChecks(encoded, kGeneration, kPosition + 8), "but nowhere else");
  Expect(!RecordChecks(encoded, kGeneration + 1, kPosition), "nor in another use of the segment");
  const auto again = DecodeRecordHeader(encoded, kGeneration);
  Expect(again && again->instant == header->instant && again->unique == header->unique &&
             again->TotalBytes() == header->TotalBytes(),
         "a header is encoded as it is decoded");
  RunBody(body, header->instant);
}

}  // namespace
}  // namespace rw::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  rw::fuzz::AllowRefusal([&] { rw::fuzz::Run(rw::fuzz::View(data, size)); });
  return 0;
}
