// A tree of files as a stream of frames: what a volume held at one instant, on its way to an
// archive, or the contents of an archive on their way into a new volume. The command line makes and
// reads archives; the daemon sees nothing of them but frames.
//
// Stream = Start, any number of (Node, its Xattrs, its Ranges, its Data) and Links, then End. A
// stream that ends otherwise was broken off, and nothing of it counts.
//
// Frame = kind (1 byte), length (4, little-endian), payload.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metadata/inode.h"

namespace rw {

// Part of the protocol: client and daemon may be of different builds. Never renumber.
enum class FrameKind : uint8_t {
  kStart = 'S',   // JSON: what it is of
  kNode = 'N',    // a StreamNode
  kXattr = 'X',   // of the node before: name and value
  kRanges = 'R',  // of the regular file before: what is not a hole; several follow each other
  kData = 'D',    // of the regular file before: offset and bytes
  kLink = 'L',    // a StreamLink
  kFailed = 'F',  // instead of End: why there is no more
  kEnd = 'E',     // JSON: what was in it
};

inline constexpr size_t kMaxFrameBytes = 4 << 20;
inline constexpr size_t kMaxDataBytes = 1 << 20;  // of one Data frame
inline constexpr size_t kMaxRanges = 4096;        // of one Ranges frame
inline constexpr char kTreeContentType[] = "application/vnd.rewind.tree.v1";

// All of a file but its contents and xattrs.
struct StreamNode {
  std::string path;   // from the root of the volume, without / at either end; "": the root
  uint32_t mode = 0;  // as st_mode
  uint32_t uid = 0, gid = 0;
  uint32_t rdev = 0;
  uint64_t size = 0;  // of a regular file
  FileTime atime, mtime;
  std::string target;  // of a symlink
  Ino ino = 0;         // if more links of it follow
  friend bool operator==(const StreamNode&, const StreamNode&) = default;
};

// Another name of a node. From a volume the node is named by its number, from an archive by its
// path.
struct StreamLink {
  std::string path;
  Ino ino = 0;
  std::string target;
};

using Range = std::pair<uint64_t, uint64_t>;  // offset and length

struct Frame {
  FrameKind kind = FrameKind::kEnd;
  std::string_view payload;
};

// What AppendTo or a sink is given is one frame.
std::string EncodeFrame(FrameKind kind, std::string_view payload);
std::string EncodeNode(const StreamNode& node);
std::string EncodeXattr(std::string_view name, std::string_view value);
std::string EncodeRanges(const std::vector<Range>& ranges);
// The head of a Data frame whose bytes follow it.
std::string EncodeDataHead(uint64_t offset, size_t bytes);
std::string EncodeLink(const StreamLink& link);

// Each throws Refused(EPROTO) if the payload makes no sense.
StreamNode DecodeNode(std::string_view payload);
std::pair<std::string_view, std::string_view> DecodeXattr(std::string_view payload);
std::vector<Range> DecodeRanges(std::string_view payload);
std::pair<uint64_t, std::string_view> DecodeData(std::string_view payload);
StreamLink DecodeLink(std::string_view payload);

// Cuts bytes as they arrive into frames.
class FrameReader {
 public:
  // `take` sees each frame once; its payload is valid during the call. What it throws comes out of
  // Append.
  explicit FrameReader(std::function<void(const Frame&)> take) : take_(std::move(take)) {}

  // Throws Refused(EPROTO) for what is no frame.
  void Append(std::string_view bytes);
  // True if an End or Failed frame was the last.
  bool ended() const { return ended_; }

 private:
  void Cut(std::string_view* bytes);

  std::function<void(const Frame&)> take_;
  std::string partial_;
  bool ended_ = false;
};

}  // namespace rw
