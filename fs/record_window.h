// Reads a segment's file in pieces, for those who go through its records.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fs/file.h"
#include "fs/record.h"

namespace rw {

// Not thread-safe. Errors: Refused for calls that fail.
class RecordWindow {
 public:
  // Reads at least so much at once: more than is asked for, where what follows will be asked for.
  explicit RecordWindow(uint64_t piece_bytes = 1 << 20) : piece_bytes_(piece_bytes) {}

  // Shorter at the end of the file; valid until the next call. All calls since Clear are about one
  // file.
  std::string_view Fetch(File* file, uint64_t offset, uint64_t bytes);
  // The header of the record at `offset`, if there is one whose header and body check out.
  std::optional<RecordHeader> RecordAt(File* file, uint64_t offset, uint64_t generation);
  // What comes next is of another file, or of one that was changed.
  void Clear();

 private:
  const uint64_t piece_bytes_;
  std::string bytes_;
  uint64_t offset_ = 0;
};

}  // namespace rw
