// A tree of frames (plugin/tree_stream.h) as a tar archive in the pax format, by libarchive.
#pragma once

#include <exception>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "plugin/tree_stream.h"

struct archive;
struct archive_entry;

namespace rw {

// Not thread-safe.
class ArchiveWriter {
 public:
  // `out` gets the archive's bytes; what it throws comes out of the methods.
  explicit ArchiveWriter(std::function<void(std::string_view)> out);
  // What was not finished gets no end: readers see that it was broken off.
  ~ArchiveWriter();
  ArchiveWriter(const ArchiveWriter&) = delete;
  ArchiveWriter& operator=(const ArchiveWriter&) = delete;

  // Any frame but Start, Failed and End. Throws Refused(EIO) if libarchive refuses, EPROTO.
  void Take(const Frame& frame);
  // Writes the archive's end.
  void Finish();

 private:
  void TakeNode(std::string_view payload);
  void TakeXattr(std::string_view payload);
  void TakeData(std::string_view payload);
  void TakeLink(std::string_view payload);
  void WriteHeader();
  void WriteZeros(uint64_t until);
  void EndNode();
  void WriteEntry(bool is_utf8);
  void Check(int result);

  std::function<void(std::string_view)> out_;
  std::exception_ptr thrown_;
  bool given_up_ = false;
  archive* archive_;
  archive_entry* entry_;
  enum class State { kNone, kNode, kContents } state_ = State::kNone;
  uint64_t size_ = 0, position_ = 0;  // of the regular file under way
  std::vector<Range> ranges_;
  std::map<Ino, std::string> paths_;  // of nodes with several names
  bool is_utf8_ = true;               // the names of the node under way
};

}  // namespace rw
