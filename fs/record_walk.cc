#include "fs/record_walk.h"

#include <algorithm>
#include <optional>

#include "fs/segment.h"

namespace rw {
namespace {

constexpr uint64_t kWindowBytes = 1 << 20;

class Walk {
 public:
  Walk(File* file, uint64_t generation) : file_(file), generation_(generation) {}

  WalkEnd Run(const std::function<void(const WalkedRecord&)>& visit) {
    const uint64_t size = file_->Size();
    WalkEnd walked{0, kSegmentHeaderBytes};
    bool in_gap = false;
    for (uint64_t offset = kSegmentHeaderBytes; offset + kRecordHeaderBytes <= size;) {
      const std::optional<RecordHeader> header = HeaderAt(offset);
      if (!header) {
        in_gap = true;
        offset += kRecordAlignment;
        continue;
      }
      walked.gaps += in_gap;  // a gap that nothing follows is where the journal ends
      in_gap = false;
      walked.end = offset + header->TotalBytes();
      if (header->type == RecordType::kSegmentEnd) break;
      const std::string_view bytes = Fetch(offset, header->frames_offset());
      visit({*header, static_cast<uint32_t>(offset), bytes.substr(kRecordHeaderBytes)});
      offset = walked.end;
    }
    return walked;
  }

 private:
  std::optional<RecordHeader> HeaderAt(uint64_t offset) {
    const std::string_view bytes = Fetch(offset, kRecordHeaderBytes);
    if (bytes.size() < kRecordHeaderBytes) return std::nullopt;
    const auto header = DecodeRecordHeader(bytes, generation_);
    if (!header || header->TotalBytes() > kMaxSegmentBytes) return std::nullopt;
    const std::string_view checked = Fetch(offset, header->frames_offset());
    if (checked.size() < header->frames_offset() ||
        !RecordChecks(checked, generation_, static_cast<uint32_t>(offset)))
      return std::nullopt;
    return header;
  }

  std::string_view Fetch(uint64_t offset, uint64_t bytes) {  // shorter at the end of the file
    if (offset < window_offset_ || offset + bytes > window_offset_ + window_.size()) {
      window_.resize(std::max(bytes, kWindowBytes));
      window_.resize(file_->ReadAt(window_, offset));
      window_offset_ = offset;
    }
    return std::string_view(window_).substr(
        std::min<uint64_t>(offset - window_offset_, window_.size()), bytes);
  }

  File* file_;
  const uint64_t generation_;
  std::string window_;
  uint64_t window_offset_ = 0;
};

}  // namespace

WalkEnd WalkRecords(File* file, uint64_t generation,
                    const std::function<void(const WalkedRecord&)>& visit) {
  return Walk(file, generation).Run(visit);
}

}  // namespace rw
