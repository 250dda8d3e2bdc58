#include "fs/record_walk.h"

#include <optional>

#include "fs/record_window.h"
#include "fs/segment.h"

namespace rw {
WalkEnd WalkRecords(File* file, uint64_t generation,
                    const std::function<void(const WalkedRecord&)>& visit) {
  RecordWindow window;
  const uint64_t size = file->Size();
  WalkEnd walked{0, kSegmentHeaderBytes};
  bool in_gap = false;
  for (uint64_t offset = kSegmentHeaderBytes; offset + kRecordHeaderBytes <= size;) {
    const std::optional<RecordHeader> header = window.RecordAt(file, offset, generation);
    if (!header) {
      in_gap = true;
      offset += kRecordAlignment;
      continue;
    }
    walked.gaps += in_gap;  // a gap that nothing follows is where the journal ends
    in_gap = false;
    walked.end = offset + header->TotalBytes();
    if (header->type == RecordType::kSegmentEnd) break;
    const std::string_view bytes = window.Fetch(file, offset, header->frames_offset());
    visit({*header, static_cast<uint32_t>(offset), bytes.substr(kRecordHeaderBytes)});
    offset = walked.end;
  }
  return walked;
}

}  // namespace rw
