// A segment: one file of a journal (metadata/FORMAT.md, "Segment").
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "fs/file.h"
#include "metadata/catalog.h"
#include "metadata/chunk.h"

namespace rw {

inline constexpr uint32_t kSegmentHeaderBytes = 64;
inline constexpr uint64_t kMinSegmentBytes = 64 << 10;
inline constexpr uint64_t kMaxSegmentBytes = 64 << 20;

struct SegmentHeader {
  TimelineId timeline = 0;
  uint32_t number = 0;
  uint64_t generation = 0;  // the instant when this use of the file began, in ns: unique

  std::string Encode() const;
  static std::optional<SegmentHeader> Decode(
      std::string_view bytes);  // nothing if it does not check out
};

std::string SegmentFileName(uint32_t number);
std::optional<uint32_t> ParseSegmentFileName(const std::string& name);

struct Segment {
  SegmentHeader header;
  std::unique_ptr<File> file;
};

// Open segments, for reading what extents point to. Thread safety: all methods may be called from
// any thread.
class SegmentReader {
 public:
  // `root`: the directory that holds one directory per timeline.
  SegmentReader(FileLayer* files, std::filesystem::path root)
      : files_(files), root_(std::move(root)) {}

  std::filesystem::path TimelineDirectory(TimelineId timeline) const;

  // Reads bytes [from, from + out.size()) of a stored extent and verifies them against their
  // checksums. Throws Refused(EIO) that names file and position if they do not check out.
  void Read(const Extent& extent, uint32_t from, std::span<char> out);

  // Closes what is open of a timeline, before its files are removed.
  void Forget(TimelineId timeline);

 private:
  using Key = std::pair<TimelineId, uint32_t>;
  struct Entry {
    std::shared_ptr<Segment> segment;
    std::list<Key>::iterator recent;
  };

  std::shared_ptr<Segment> Find(TimelineId timeline, uint32_t number);

  FileLayer* files_;
  std::filesystem::path root_;
  std::mutex mutex_;  // guards what follows
  std::map<Key, Entry> open_;
  std::list<Key> recent_;  // most recently used first
};

}  // namespace rw
