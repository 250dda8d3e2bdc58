// Checks a timeline's journal: each segment's header, each record, each frame. What lies behind a
// damaged record is found again.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "fs/check_context.h"
#include "fs/record_window.h"
#include "fs/scanner.h"

namespace rw {

class JournalCheck {
 public:
  JournalCheck(CheckContext* context, const CheckedTimeline& timeline)
      : context_(context), timeline_(timeline) {}

  // False if it was ended early. Throws nothing for damage.
  bool Run();

  // Whether the bytes of the extent were read and are sound. False: not known.
  bool KnowsSound(const Extent& extent) const;

 private:
  struct Area {  // frames of one record
    uint32_t first_frame = 0;
    uint32_t data_bytes = 0;
    bool sound = true;
  };

  bool CheckSegment(uint32_t number);
  void CheckNoneIsMissing();
  bool CheckHeader(uint32_t number, File* file, SegmentHeader* header);
  // The record at `offset`, if its header and body check out.
  std::optional<RecordHeader> RecordAt(File* file, uint64_t offset, uint64_t generation);
  bool CheckFrames(File* file, const RecordHeader& header, uint32_t first_frame);
  uint64_t NextRecord(File* file, uint64_t offset, uint64_t end, uint64_t generation);
  void AddHurt(HurtKind kind, uint32_t segment, uint64_t position, const std::string& what,
               bool repaired);
  bool RepairFrame(uint32_t segment, uint32_t position, std::string_view framed,
                   uint64_t generation);
  bool RepairRecord(uint32_t segment, uint64_t offset, std::string_view bytes, uint64_t generation);

  CheckContext* context_;
  const CheckedTimeline& timeline_;
  std::map<uint32_t, std::vector<Area>> areas_;
  uint32_t segment_ = 0;  // the one that is checked
  RecordWindow window_;
};

}  // namespace rw
