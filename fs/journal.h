// The journal of one timeline: the truth about it, and the log of the index (metadata/FORMAT.md,
// "Journal").
//
// A record that Append has returned from survives the process; one that Sync has returned from
// survives the machine. What was appended is never changed in place; but the bytes of the last page
// are written again with each record.
//
// Thread safety: Append is the caller's to serialise; everything else may be called from any
// thread. Errors: Refused with the errno of the call that failed. A failed append is as if it had
// never been; what it may have left behind is erased before the next. After a failed sync the
// journal refuses everything with EIO until it is opened again: what the kernel still holds cannot
// be known.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/record.h"
#include "fs/scanner.h"
#include "fs/segment_pool.h"

namespace rw {

class Journal {
 public:
  struct Appended {
    JournalPosition record;
    JournalPosition next;
    uint32_t first_frame = 0;  // in the segment
    uint32_t bytes = 0;        // on disk, padding included
  };

  // Opens the journal in `directory` (made if absent) and hands every record from `from` on, which
  // must be where a record ended, to `replay`. Cuts what a crash has torn off, unless the journal
  // is known to have been closed
  // (`clean`). What was replayed is durable. Throws Refused(EIO) for damage.
  Journal(FileLayer* files, std::filesystem::path directory, TimelineId timeline,
          JournalPosition from, Instant after, bool clean,
          const std::function<void(const ScannedRecord&)>& replay);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Begins behind segment `last`, in segments of full size, and looks at nothing that is there:
  // what is appended is not for replay.
  Journal(FileLayer* files, std::filesystem::path directory, TimelineId timeline, uint32_t last);

  // `instant` must be greater than that of every record before.
  Appended Append(RecordType type, Instant instant, uint64_t unique, std::string_view body,
                  std::span<const char> data);

  // Segments begun from now on are at most so large, unless a record needs more.
  void LimitSegments(uint64_t bytes) { max_segment_bytes_ = bytes; }
  // From now on, segments of that size are taken from `pool` if it has some; it must outlive the
  // journal.
  void UsePool(SegmentPool* pool) { pool_ = pool; }
  // While it is true no segment is begun: Append throws Refused(ENOSPC) where it needs one.
  void BeginNoneWhile(const std::atomic<bool>* held_back) { held_back_ = held_back; }

  // What is appended from now on is in another segment than what was before. As Append, the
  // caller's to serialise; `instant` as there.
  void BeginSegment(Instant instant);

  // Everything appended before the call survives the machine when this returns. Calls at the same
  // time share one fdatasync.
  void Sync();

  // Seals the current segment, which cuts the file to what it holds, and syncs.
  void End();
  // Writes down how far the journal is durable, without a sync of its own: then a last record that
  // the disk damages is not taken for one that a crash has torn, even if none follows. For one
  // thread, now and then.
  void NoteDurable();

  Instant last_instant() const {
    return last_instant_;
  }  // of the newest record; the appender's to read
  JournalPosition end() const { return Unpack(appended_.load(std::memory_order_acquire)); }
  bool failed() const { return broken_; }

 private:
  static uint64_t Pack(JournalPosition p) { return uint64_t{p.segment} << 32 | p.offset; }
  static JournalPosition Unpack(uint64_t p) {
    return {static_cast<uint32_t>(p >> 32), static_cast<uint32_t>(p)};
  }

  JournalPosition ReadNote() const;
  void SyncSegmentsFrom(uint32_t first);
  void RemoveSegmentsAfter(uint32_t last);
  void EraseTornTail(uint32_t end);
  void EraseFailedWrite(uint64_t offset, uint64_t bytes);
  void WritePages(std::vector<iovec> record, uint64_t offset, uint64_t bytes);
  void ReadTail();
  void EraseUnerased();
  void Roll(uint64_t record_bytes, Instant instant);
  struct NewSegment {
    std::shared_ptr<File> file;
    uint64_t capacity = 0;
    uint64_t written = 0;  // bytes from its begin that were written before, by whatever
  };
  NewSegment BeginFile(const std::filesystem::path& path, uint32_t number, uint64_t record_bytes);
  void WriteAhead(uint64_t end);
  void Seal();
  void CheckUsable() const;

  FileLayer* files_;
  std::filesystem::path directory_;
  TimelineId timeline_;
  Instant last_instant_;  // the appender's

  // The current segment; the appender's, and read by Sync under mutex_.
  std::shared_ptr<File> current_;
  SegmentHeader current_header_;
  uint64_t capacity_ = 0;
  uint64_t written_until_ = 0;  // before it, the current segment's blocks have been written
  uint64_t max_segment_bytes_ = kMaxSegmentBytes;
  bool full_size_ = false;
  SegmentPool* pool_ = nullptr;
  const std::atomic<bool>* held_back_ = nullptr;
  // What the current segment's last page holds before end(). Whole pages are written, so that the
  // kernel need not read what a segment that is used again held there.
  std::string tail_;

  std::atomic<uint64_t> appended_{0};        // packed position after the newest record
  std::atomic<uint64_t> durable_{0};         // packed position before which all is on the disk
  std::atomic<uint64_t> unsynced_bytes_{0};  // appended since the last sync began
  std::atomic<uint64_t> synced_bytes_{UINT64_MAX};  // what that sync was for
  std::atomic<bool> broken_{false};
  // Where a write failed and may have left something; the appender's.
  std::optional<std::pair<uint64_t, uint64_t>> unerased_;
  uint64_t noted_ = 0;  // what NoteDurable has written last

  std::mutex mutex_;  // guards what follows, and changes of current_
  std::condition_variable synced_;
  bool syncing_ = false;
  uint64_t waiting_ = 0;  // calls of Sync that the next sync covers
  bool directory_dirty_ = false;
  std::vector<std::shared_ptr<File>> sealed_unsynced_;
};

}  // namespace rw
