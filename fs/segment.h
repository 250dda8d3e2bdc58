// A segment: one file of a journal (metadata/FORMAT.md, "Segment").
#pragma once

#include <atomic>
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
#include "metadata/refused.h"

namespace rw {

inline constexpr uint32_t kSegmentHeaderBytes = 64;
inline constexpr uint64_t kMinSegmentBytes = 64 << 10;
inline constexpr uint64_t kMaxSegmentBytes = 64 << 20;
// From here on numbers are those of moved data's segments (fs/moved_data.h); below, the journal's.
inline constexpr uint32_t kFirstMovedSegment = uint32_t{1} << 31;

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

// The numbers of the journal's segments in a timeline's directory, in order.
std::vector<uint32_t> ListSegments(FileLayer* files, const std::filesystem::path& directory);
// The same, of moved data's segments.
std::vector<uint32_t> ListMovedSegments(FileLayer* files, const std::filesystem::path& directory);

// What a crash leaves of a header that was being written: all of it or, as here, nothing, because
// it fits a sector.
bool HasZeroHeader(FileLayer* files, const std::filesystem::path& segment);

struct Segment {
  SegmentHeader header;
  std::unique_ptr<File> file;
  std::atomic<bool> gone{false};  // the file is no longer this segment
};

// The segment was freed: what it held that anybody needs was moved, and the index knows where.
class SegmentGone : public Refused {
 public:
  using Refused::Refused;
};

struct SegmentInfo {
  uint32_t number = 0;
  uint64_t bytes = 0;  // of the file
  uint64_t generation = 0;
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
  // checksums. Throws Refused(EIO) that names file and position if they do not check out, and
  // SegmentGone if there is no such segment.
  void Read(const Extent& extent, uint32_t from, std::span<char> out);

  // These bytes of a segment's file will be read soon. A hint; does nothing if there is none.
  void WillRead(TimelineId timeline, uint32_t segment, uint64_t offset, uint64_t length);

  // Closes what is open of a timeline, before its files are removed.
  void Forget(TimelineId timeline);
  void Forget(TimelineId timeline, uint32_t segment);

  // The segments of a timeline's journal that have a sound header, in order of their numbers.
  std::vector<SegmentInfo> List(TimelineId timeline);
  // The same, of its moved data's segments.
  std::vector<SegmentInfo> ListMoved(TimelineId timeline);

 private:
  using Key = std::pair<TimelineId, uint32_t>;
  struct Entry {
    std::shared_ptr<Segment> segment;
    std::list<Key>::iterator recent;
  };

  std::shared_ptr<Segment> Find(TimelineId timeline, uint32_t number);
  std::vector<SegmentInfo> Inform(TimelineId timeline, const std::vector<uint32_t>& numbers);

  FileLayer* files_;
  std::filesystem::path root_;
  std::mutex mutex_;  // guards what follows
  std::map<Key, Entry> open_;
  std::list<Key> recent_;                // most recently used first
  std::map<Key, uint64_t> generations_;  // that List has read
};

}  // namespace rw
