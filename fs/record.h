// One operation in a journal, and the frames that its data lie in (metadata/FORMAT.md, "Record").
//
//   header (48 bytes) | body | frames of data | zeros to a multiple of 8
//
// Everything is checksummed together with the place that it was written to, so that bytes which are
// sound but of another place or another use of the segment are never taken for what was asked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "metadata/chunk.h"
#include "metadata/index.h"
#include "metadata/instant.h"
#include "metadata/mutation.h"

namespace rw {

// Stored on disk: never renumber.
enum class RecordType : uint8_t {
  kSegmentEnd = 1,  // the journal goes on in the next segment
  kMakeRoot = 2,
  kCreate = 3,  // of a file, directory, symlink, fifo, socket or device
  kUnlink = 4,
  kRmdir = 5,
  kRename = 6,
  kLink = 7,
  kSetAttr = 8,
  kWrite = 9,
  kFallocate = 10,
  kCopyRange = 11,
  kSetXattr = 12,
  kRemoveXattr = 13,
  kForget = 14,  // unlinked inodes end
  kCatalog = 15,
  kCreateUnnamed = 16,  // O_TMPFILE
  kMoved = 17,          // no operation: data of an older one, from a segment that is to be freed
  kMount = 18,          // no operation: somebody mounted the volume
  kUnmount = 19,        // no operation: and does not use it any more
  kPrepare = 20,        // something is made where nobody sees it
  kRestore = 21,        // what was prepared takes its place
};

// Whether it changes what the volume holds. Others are in the journal for those who read that.
constexpr bool IsOperation(RecordType type) {
  return type != RecordType::kMoved && type != RecordType::kMount && type != RecordType::kUnmount;
}

inline constexpr uint8_t kRecordVersion = 1;
inline constexpr uint32_t kRecordHeaderBytes = 48;
inline constexpr uint32_t kRecordAlignment = 8;

struct RecordHeader {
  RecordType type = RecordType::kSegmentEnd;
  uint32_t body_bytes = 0;
  uint32_t data_bytes = 0;  // without the frames' checksums
  Instant instant;
  uint64_t generation = 0;  // of the segment
  JournalPosition durable;  // everything before it had reached the disk when this was written
  uint64_t unique = 0;      // of the FUSE request

  // From the header's first byte to the next record's.
  uint64_t TotalBytes() const;
  uint32_t frames_offset() const { return kRecordHeaderBytes + body_bytes; }
};

uint64_t FramedBytes(uint64_t data_bytes);

// The header's bytes, with a checksum over it and `body` for a record that starts at `position` of
// its segment.
std::string EncodeRecordHeader(const RecordHeader& header, std::string_view body,
                               uint32_t position);
// Decodes a header that its checksum may still prove wrong; nothing if it cannot be one.
std::optional<RecordHeader> DecodeRecordHeader(std::string_view bytes, uint64_t generation);
// `bytes`: header and body.
bool RecordChecks(std::string_view bytes, uint64_t generation, uint32_t position);

// The checksum of a frame's data; `position` is the frame's, in its segment.
uint32_t FrameChecksum(std::string_view data, uint64_t generation, uint32_t position);

// What a record's body holds, whatever its type.
struct RecordBody {
  uint32_t uid = 0, pid = 0;        // who asked
  Totals totals;                    // of the timeline, after the operation
  uint64_t offset = 0, length = 0;  // of what was written, punched, or copied to
  Mutations mutations;

  std::string Encode(Instant at, TimelineId own) const;
  static RecordBody Decode(std::string_view bytes, Instant at,
                           TimelineId own);  // throws Refused(EIO)
  // Who the body says is its writer, without decoding the rest of it (metadata/find_writer.h).
  static std::shared_ptr<const Writer> FindWriter(std::string_view bytes, Instant at,
                                                  TimelineId own);

 private:
  void DecodeNumbers(Decoder* in);  // all but the mutations
};

}  // namespace rw
