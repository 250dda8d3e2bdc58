// Reads a journal's records in order, verifying each: for recovery, and for looks at operations by
// their instants.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/file.h"
#include "fs/record.h"
#include "fs/record_window.h"
#include "fs/segment.h"

namespace rw {

struct ScannedRecord {
  JournalPosition position;
  JournalPosition next;
  RecordHeader header;
  std::string_view body;  // valid until the next call
};

// Not thread-safe. Errors: Refused for calls that fail; damage is an end, not an error.
class JournalScanner {
 public:
  // Starts at `from`; segment 0 means at the first segment there is. Records must have instants
  // after `after`. What lies before `durable` is known to have reached the disk.
  JournalScanner(FileLayer* files, std::filesystem::path directory, TimelineId timeline,
                 JournalPosition from, Instant after, JournalPosition durable = kAllDurable);

  // For what nobody is writing any more.
  static constexpr JournalPosition kAllDurable{UINT32_MAX, UINT32_MAX};

  // The next record that checks out; nothing at the end. Data that do not check out end the
  // journal where a crash may have torn it. Where it cannot have, the disk has damaged them, and
  // what the record says is so all the same: who reads those data gets EIO.
  std::optional<ScannedRecord> Next();

  // After Next has returned nothing: where the last sound record ends, and whether a segment was
  // sealed there.
  JournalPosition end() const { return position_; }
  bool sealed() const { return sealed_; }
  Instant last_instant() const { return last_instant_; }

  // After Next has returned nothing: whether a record lies beyond the end that was written when the
  // end was already durable. Then the end is not where a crash tore the journal but where the disk
  // has lost something.
  bool LaterRecordsProveDamage();

 private:
  bool OpenSegment(uint32_t number);
  std::optional<ScannedRecord> ReadRecord();
  bool DataAreSoundOrDamaged(const RecordHeader& header);
  bool FramesCheck(const RecordHeader& header, uint32_t first_frame);
  bool SegmentProvesDamage(uint64_t from, JournalPosition end);

  FileLayer* files_;
  std::filesystem::path directory_;
  TimelineId timeline_;
  std::vector<uint32_t> segments_;
  JournalPosition position_;
  Instant last_instant_;
  JournalPosition durable_;
  bool sealed_ = false;
  std::unique_ptr<File> file_;
  uint64_t file_bytes_ = 0;
  SegmentHeader header_;
  RecordWindow window_;
};

}  // namespace rw
