#include "fs/record_window.h"

#include <algorithm>

#include "fs/segment.h"

namespace rw {

namespace {

// That are read at once of what is gone through from record to record: small ones, since what one
// of them begins in was read with those before it.
constexpr uint64_t kOfMany = 32 << 10;

}  // namespace

std::string_view RecordWindow::Fetch(File* file, uint64_t offset, uint64_t bytes) {
  if (offset < offset_ || offset + bytes > offset_ + bytes_.size()) {
    const bool goes_on = !bytes_.empty() && offset >= offset_ && offset <= offset_ + bytes_.size();
    bytes_.resize(std::max({bytes, piece_bytes_, goes_on ? kOfMany : 0}));
    bytes_.resize(file->ReadAt(bytes_, offset));
    offset_ = offset;
  }
  return std::string_view(bytes_).substr(offset - offset_, bytes);
}

std::optional<RecordHeader> RecordWindow::RecordAt(File* file, uint64_t offset,
                                                   uint64_t generation) {
  const auto header = DecodeRecordHeader(Fetch(file, offset, kRecordHeaderBytes), generation);
  if (!header || header->TotalBytes() > kMaxSegmentBytes) return std::nullopt;
  if (!RecordChecks(Fetch(file, offset, header->frames_offset()), generation,
                    static_cast<uint32_t>(offset)))
    return std::nullopt;
  return header;
}

void RecordWindow::Clear() {
  bytes_.clear();
  offset_ = 0;
}

}  // namespace rw
