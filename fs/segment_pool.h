// Files of freed segments, to be used again. Their blocks are allocated and were written once, so a
// record that is written and synced into one changes nothing of the disk's own bookkeeping: that
// halves the time of an fsync on ext4.
//
// A file lies here with a header of zeros, so that whoever begins it anew leaves a new header or
// zeros, whatever a crash tears. What is behind the header is of an earlier generation, and checks
// out nowhere.
//
// Thread safety: all methods may be called from any thread. Errors: Refused with the errno of the
// call; what is lost by one is space, until the next start.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "fs/file.h"

namespace rw {

class SegmentPool {
 public:
  // `segment_bytes`: what is taken from here is so large, when it has been allocated anew. Takes up
  // what an earlier run has left in `directory`, which is made.
  SegmentPool(FileLayer* files, std::filesystem::path directory, uint64_t segment_bytes);

  // Takes the freed segments that are worth it, as many as fit, and removes the others.
  void Free(const std::vector<std::filesystem::path>& segments);

  // Moves a file to `path` and opens it; null if there is none. Its length is to be set.
  std::unique_ptr<File> Take(const std::filesystem::path& path);

  void Limit(uint64_t bytes);  // from now on; removes what is too much
  uint64_t segment_bytes() const { return segment_bytes_; }

 private:
  struct Entry {
    uint64_t number = 0;
    uint64_t bytes = 0;
  };

  std::filesystem::path PathOf(uint64_t number) const {
    return directory_ / std::to_string(number);
  }
  std::optional<Entry> Reserve(uint64_t bytes);
  void ZeroHeader(const std::filesystem::path& path);

  FileLayer* files_;
  const std::filesystem::path directory_;
  const uint64_t segment_bytes_;

  std::mutex mutex_;  // guards what follows; held for no sync
  std::vector<Entry> free_;
  uint64_t bytes_ = 0;
  uint64_t limit_ = UINT64_MAX;
  uint64_t next_number_ = 1;
};

}  // namespace rw
