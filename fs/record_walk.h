// Walks the records of one segment file, whatever state it is in: what does not check out is passed
// over. Headers and bodies are verified, data are not looked at.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "fs/file.h"
#include "fs/record.h"

namespace rw {

struct WalkedRecord {
  RecordHeader header;
  uint32_t position = 0;  // of the header, in the segment
  std::string_view body;  // valid during the call

  uint32_t first_frame() const { return position + header.frames_offset(); }
};

struct WalkEnd {
  uint64_t gaps = 0;  // how often it came across something that is no record, between records
  uint64_t end = 0;   // of the last record
};

// Calls `visit` for each record that checks out. Throws Refused for calls that fail.
WalkEnd WalkRecords(File* file, uint64_t generation,
                    const std::function<void(const WalkedRecord&)>& visit);

}  // namespace rw
